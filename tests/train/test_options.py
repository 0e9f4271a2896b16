"""Options out of their bounds are refused with a usage message."""

import pytest

from train import throughput


@pytest.mark.parametrize("option", ["--batches", "--rounds"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_a_count_below_one_is_refused(option, value, capsys):
    with pytest.raises(SystemExit) as ended:
        throughput.main([f"{option}={value}"])
    assert ended.value.code == 2
    assert f"{value} is not a whole number from 1" in capsys.readouterr().err
