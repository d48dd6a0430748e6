"""What the container of before was told, and what of that is of use here."""

import pytest

from batch.command.decisions.container import read
from batch.errors import BadSettings
from tests.servers import run_here

DOCUMENTED = ("Eula=accept", "Billing=https://westus2.example.com/", "ApiKey=0123456789abcdef")


def test_the_documented_line_is_understood_as_it_was() -> None:
    told = read((*DOCUMENTED, "Logging:Console:LogLevel:Default=Information", "HTTP_PROXY=x:1"))
    assert told.api_key == "0123456789abcdef"
    ignored = ("Logging:Console:LogLevel:Default", "HTTP_PROXY", "Billing")
    assert told.ignored == ignored
    assert read([each.replace("ApiKey", "APIKEY") for each in DOCUMENTED]).api_key == told.api_key
    assert "0123456789" not in repr(told)


def test_it_needs_none_of_them() -> None:
    assert (read(()).api_key, read(()).ignored) == ("", ())


@pytest.mark.parametrize("missing", range(3))
def test_three_belong_together(missing: int) -> None:
    name = DOCUMENTED[missing].partition("=")[0]
    for given in (DOCUMENTED[:missing], [*DOCUMENTED[:missing], f"{name}="]):
        with pytest.raises(BadSettings, match=f"{name} has no value"):
            read([*given, *DOCUMENTED[missing + 1 :]])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("Eula=no", "Eula must be accept"),
        ("Nonsense:x=hush-hush", "argument 4 is no setting of the container"),
        ("hush-hush", "argument 4 is no setting"),
    ],
)
def test_what_is_wrong_is_said_and_no_value_of_it(wrong: str, said: str) -> None:
    with pytest.raises(BadSettings, match=said) as raised:
        read((*DOCUMENTED, wrong))
    assert "hush" not in str(raised.value) and "0123456789" not in str(raised.value)


def test_without_a_command_they_are_those_of_up() -> None:
    """As the image has it: what follows its name comes behind ``larder decisions``."""
    done = run_here("decisions", "Eula=no", *DOCUMENTED[1:])
    assert done.returncode == 2 and "Eula must be accept" in done.stderr
