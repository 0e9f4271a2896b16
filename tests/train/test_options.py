"""Options of `digit-edge train-throughput` below 1 are rejected with a usage message."""

import pytest

from train import throughput


@pytest.mark.parametrize("option", ["--batches", "--rounds"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_count_that_is_not_a_whole_number_from_1_is_rejected(option, value, capsys):
    with pytest.raises(SystemExit) as ended:
        throughput.main([f"{option}={value}"])
    assert ended.value.code == 2
    assert f"{value} is not a whole number from 1" in capsys.readouterr().err
