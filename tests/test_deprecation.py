"""Deprecated names work, keep their signature and warn where they are called."""

import copy
import inspect
import pickle
import subprocess
import sys
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from dentalzoo.deprecation import deprecated, renamed_arguments, replaced_values


@deprecated("0.2.0", use="dentalzoo.augment_dataset")
def enlarge(data: str, *, count: int = 2) -> str:
    """Augment a data set.

    Args:
        data: its folder.
    """
    return data * count


@deprecated("0.2.0", use="NewOptions")
@dataclass(frozen=True)
class Options:
    """Options."""

    size: int = 1


@deprecated("0.2.0", use="New")
class Empty:
    pass


@deprecated("0.2.0", use="New")
class Pair(NamedTuple):
    low: int
    high: int


@renamed_arguments("0.2.0", storage="weights_dtype", places="views")
def export(model: str, weights_dtype: str = "float32", *, views: int = 10) -> tuple[str, str, int]:
    """Export."""
    return model, weights_dtype, views


def line_of(caught):
    """The file and the line that a warning names."""
    return caught.filename, caught.lineno


def here():
    """The file and the line of the caller."""
    frame = inspect.currentframe().f_back
    return frame.f_code.co_filename, frame.f_lineno


def test_a_function_warns_at_the_call_and_works():
    with pytest.warns(FutureWarning) as caught:
        result, place = enlarge("a", count=3), here()
    assert result == "aaa"
    assert [line_of(one) for one in caught] == [place]
    assert str(caught[0].message) == (
        "enlarge is deprecated since dentalzoo 0.2.0; use dentalzoo.augment_dataset instead"
    )


def test_signature_and_docstring_stay():
    assert str(inspect.signature(enlarge)) == "(data: str, *, count: int = 2) -> str"
    assert (enlarge.__name__, enlarge.__module__) == ("enlarge", __name__)
    assert enlarge.__doc__ == (
        "Augment a data set.\n\n"
        ".. deprecated:: 0.2.0\n   Use `dentalzoo.augment_dataset` instead.\n\n"
        "Args:\n    data: its folder."
    )
    assert Empty.__doc__ == ".. deprecated:: 0.2.0\n   Use `New` instead."
    assert "use dentalzoo.augment_dataset" in enlarge.__deprecated__


def test_a_class_stays_a_class_and_warns_at_construction():
    with pytest.warns(FutureWarning, match="Options is deprecated.*use NewOptions") as caught:
        made, place = Options(size=3), here()
    assert [line_of(one) for one in caught] == [place]
    assert isinstance(Options, type) and isinstance(made, Options)
    assert list(inspect.signature(Options).parameters) == ["size"]
    assert pickle.loads(pickle.dumps(made)) == copy.copy(made) == made  # and no further warning


def test_classes_without_an_init_of_their_own():
    with pytest.warns(FutureWarning):
        Empty()
    with pytest.warns(FutureWarning), pytest.raises(TypeError):
        Empty(1)
    with pytest.warns(FutureWarning) as caught:
        assert Pair(1, high=2) == (1, 2)
    assert len(caught) == 1


def test_a_subclass_warns_and_its_base_does_not():
    class Base:
        def __init__(self, size=1):
            self.size = size

    @deprecated("0.2.0", use="Base")
    class Old(Base):
        pass

    assert Base(2).size == 2
    with pytest.warns(FutureWarning, match="Old is deprecated"):
        assert Old(3).size == 3


def test_methods():
    class Model:
        @deprecated("0.2.0", use="Model.predict")
        def run(self):
            return self

        @classmethod
        @deprecated("0.2.0", use="Model.load")
        def read(cls):
            return cls

    model = Model()
    with pytest.warns(FutureWarning, match=r"Model\.run is deprecated"):
        assert model.run() is model
    with pytest.warns(FutureWarning, match=r"Model\.read is deprecated"):
        assert Model.read() is Model


def test_each_call_site_warns_once_with_the_default_filters():
    code = (
        "from dentalzoo.deprecation import deprecated\n"
        "@deprecated('0.2.0', use='new')\n"
        "def old(): ...\n"
        "for _ in range(3):\n"
        "    old()\n"
        "old()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [
        f"<string>:{line}: FutureWarning: old is deprecated since dentalzoo 0.2.0; use new instead"
        for line in (5, 6)
    ]


# ---- renamed arguments ---------------------------------------------------------------------------


def test_an_old_argument_name_is_passed_on():
    with pytest.warns(FutureWarning) as caught:
        result, place = export("unet", storage="int8"), here()
    assert result == ("unet", "int8", 10)
    assert [line_of(one) for one in caught] == [place]
    assert str(caught[0].message) == (
        "the argument storage of export is deprecated since dentalzoo 0.2.0; "
        "use weights_dtype instead"
    )
    with pytest.warns(FutureWarning) as caught:
        assert export("unet", storage="int8", places=3) == ("unet", "int8", 3)
    assert len(caught) == 2
    assert list(inspect.signature(export).parameters) == ["model", "weights_dtype", "views"]


def test_new_names_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert export("unet", "int8", views=3) == ("unet", "int8", 3)


def test_both_names_are_an_error():
    with pytest.raises(TypeError, match="Received: weights_dtype and storage"):
        export("unet", weights_dtype="int8", storage="int8")
    with pytest.warns(FutureWarning), pytest.raises(TypeError, match="multiple values"):
        export("unet", "int8", storage="int8")


@pytest.mark.parametrize("names", [{"old": "missing"}, {"model": "views"}])
def test_the_new_name_must_exist_and_the_old_one_must_not(names):
    with pytest.raises(TypeError, match="must have the new name"):
        renamed_arguments("0.2.0", **names)(export)


def test_stacked_decorators_name_the_call_site():
    both = deprecated("0.3.0", use="dentalzoo.export")(export)
    with pytest.warns(FutureWarning) as caught:
        both("unet", places=1)
        place = here()
    assert [line_of(one) for one in caught] == [(place[0], place[1] - 1)] * 2


@replaced_values("0.2.0", mixed={True: "bfloat16", False: None})
def train(name: str, *, mixed: str | None = None) -> tuple[str, str | None]:
    """Train."""
    return name, mixed


def test_an_old_value_is_replaced_with_a_warning():
    for old, new in ((True, "bfloat16"), (False, None)):
        with pytest.warns(FutureWarning) as caught:
            assert train("a", mixed=old) == ("a", new)
        assert str(caught[0].message) == (
            f"mixed={old!r} of train is deprecated since dentalzoo 0.2.0; use mixed={new!r} instead"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train("a") == ("a", None)
        assert train("a", mixed=1) == ("a", 1)  # equal to True, and no bool
    assert list(inspect.signature(train).parameters) == ["name", "mixed"]
