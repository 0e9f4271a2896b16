"""What is remembered of the images that have arrived."""

from runtime.arrivals import Memory, Stamp


def test_what_is_remembered_survives_torn_lines_and_does_not_grow_for_ever(tmp_path, monkeypatch):
    file = tmp_path / "memory.jsonl"
    memory = Memory(file)
    assert memory.is_new
    for number in range(20):
        memory.add(f"{number}.png", Stamp(10, number, number + 1))
    memory.save()
    with file.open("ab") as torn:
        torn.write(b'\n["20.png", 1')
    memory = Memory(file)
    assert not memory.is_new
    memory.add("21.png", Stamp(10, 21, 22))
    memory.save()
    memory = Memory(file)
    assert memory.knows("21.png", Stamp(10, 21, 22)) and memory.knows("0.png", Stamp(10, 0, 99))
    assert not memory.knows("20.png", Stamp(1, 0, 0))
    # The oldest of those gone are forgotten, what is there never.
    monkeypatch.setattr("runtime.arrivals.MAX_GONE", 5)
    memory.forget_gone()
    assert memory.knows("0.png", Stamp(10, 0, 1)) and memory.knows("19.png", Stamp(10, 19, 20))
    assert not memory.knows("1.png", Stamp(10, 1, 2))
