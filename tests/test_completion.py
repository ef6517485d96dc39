"""Examples of each command's `--help`, and completion in a shell."""

import shlex
import shutil
import subprocess
import sys

import pytest

from dentalzoo import completion, registry
from dentalzoo.cli import main, make_parser, parse, subparsers_of
from dentalzoo.errors import DentalzooError

PARSERS = subparsers_of(make_parser())
LINES = [(name, line) for name, lines in completion.EXAMPLES.items() for line in lines]


def test_every_command_has_an_example_in_its_help():
    assert list(completion.EXAMPLES) == list(PARSERS)
    for name, parser in PARSERS.items():
        for line in completion.EXAMPLES[name]:
            assert f"\n  {line}\n" in parser.format_help()
            assert len(line) <= 90, line


@pytest.mark.parametrize(("name", "line"), LINES)
def test_an_example_is_a_valid_command(name, line):
    program, *words = shlex.split(line)
    options = parse(words)
    assert (program, options.command) == ("dentalzoo", name)
    if name == "train":
        assert options.variant in registry.info(options.name)["variants"]


def test_what_completes_files_are_arguments_of_commands():
    known = {action.dest for parser in PARSERS.values() for action in parser._actions}
    assert set(completion._FILES) <= known


def test_without_shtab_one_line_names_the_extra(capsys, monkeypatch):
    def missing(module, extra):
        raise DentalzooError(f"pip install 'dentalzoo[{extra}]'")

    monkeypatch.setattr(completion, "require", missing)
    with pytest.raises(SystemExit) as stop:
        main(["--print-completion", "bash"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "dentalzoo: pip install 'dentalzoo[completion]'\n"


def completed(script):
    """Return what bash prints of a script that follows the completion script."""
    pytest.importorskip("shtab", reason="the extra completion is not installed")
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    code = "from dentalzoo.cli import main; main(['--print-completion', 'bash'])"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (made.returncode, made.stderr) == (0, "")
    done = subprocess.run(
        ["bash", "-c", f"{made.stdout}\n{script}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


COMPLETE = """
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_dentalzoo; printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("dentalzoo pr", ["predict"]),
        ("dentalzoo train panoramic_u", ["panoramic_unet"]),
        ("dentalzoo predict --over", ["--overlay", "--overlay-format"]),
        ("dentalzoo synthetic --kind te", ["teeth"]),
    ],
)
def test_bash_completes_commands_flags_and_names(words, found):
    assert completed(COMPLETE.format(words=words)) == found
