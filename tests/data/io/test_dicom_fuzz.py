"""Damaged DICOM files end in our own errors, in one line, in bounded time."""

import logging
import random
import time

import numpy as np
import pytest

from dentalzoo.data.io.dicom import read_dicom
from dentalzoo.data.io.listing import list_images, what_else
from dentalzoo.errors import BadFile
from tests.data.io.dicom_files import lossless_jpeg, table, words

pydicom = pytest.importorskip("pydicom")

COMPRESSED = ("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90")


@pytest.fixture
def seeds(dicom):
    """Contents of DICOM files of every kind that is read."""
    from pydicom.encaps import encapsulate

    pixels = (np.arange(32 * 32, dtype=np.uint16) * 4).reshape(32, 32)
    paths = [
        dicom(pixels, "0.dcm", WindowCenter=[2048, 9], WindowWidth=[4096, 9]),
        dicom(pixels, "1.dcm", RescaleSlope="1.5", RescaleIntercept="-100", PixelPaddingValue=0),
        dicom(pixels, "2.dcm", VOILUTSequence=[table(list(range(4096)), 16)]),
        dicom(pixels, "3.dcm", ModalityLUTSequence=[table(list(range(4096)), 12, vr="OW")]),
        dicom(pixels, "4.dcm", syntax="1.2.840.10008.1.2"),
        dicom(pixels[..., None].repeat(3, 2).astype(np.uint8), "5.dcm", SamplesPerPixel=3,
              PhotometricInterpretation="RGB", PlanarConfiguration=0),
    ]  # fmt: skip
    palettes = {}
    for colour in ("Red", "Green", "Blue"):
        palettes[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palettes[f"{colour}PaletteColorLookupTableData"] = words(np.arange(256) * 257)
    kind = "PALETTE COLOR"
    small = pixels.astype(np.uint8)
    paths.append(dicom(small, "6.dcm", PhotometricInterpretation=kind, **palettes))
    stream = encapsulate([lossless_jpeg(pixels[..., None], 12, 1)])
    paths.append(dicom(pixels, "7.dcm", syntax="1.2.840.10008.1.2.4.70", PixelData=stream))
    for index, syntax in enumerate(COMPRESSED):
        path = dicom(pixels, f"c{index}.dcm")
        dataset = pydicom.dcmread(path)
        dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
        try:
            dataset.compress(syntax, generate_instance_uid=False)
        except RuntimeError:  # without its encoder
            continue
        dataset.save_as(path)
        paths.append(path)
    contents = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    return [*contents, contents[0][132:]]  # the last one without its preamble


def mutated(content, rng):
    data = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        # Mostly in the header, which is short.
        end = len(data) if rng.random() < 0.4 else min(len(data), 900)
        at = rng.randrange(min(132, end - 1), end)
        match rng.randrange(8):
            case 0 | 1 | 2:
                data[at] = rng.randrange(256)
            case 3 | 4:
                values = (
                    b"\xff\xff\xff\xff",
                    bytes(4),
                    b"\xff\xff\xff\x7f",
                    b"NaN ",
                    b"1e99",
                    b"1,5 ",
                )
                data[at : at + 4] = rng.choice(values)
            case 5:
                del data[at : at + rng.randrange(1, 40)]
            case 6:
                data[at:at] = rng.randbytes(rng.randrange(1, 20))
            case 7:
                data = data[: max(300, rng.randrange(len(data)))]
    return bytes(data)


def check(seeds, tmp_path, number, seed):
    rng = random.Random(seed)
    results = {"read": 0, "refused": 0}
    for index in range(number):
        path = tmp_path / f"{index}"
        path.write_bytes(mutated(rng.choice(seeds), rng))
        start = time.process_time()
        what_else(path)
        try:
            image = read_dicom(path, 10_000_000)
        except BadFile as error:
            results["refused"] += 1
            assert "\n" not in str(error) and "Secret" not in str(error)
        else:
            results["read"] += 1
            assert image.dtype == np.uint8 and image.ndim == 3
        assert time.process_time() - start < 5, index
        path.unlink()
    return results


def test_some_damaged_files(seeds, tmp_path):
    assert min(check(seeds, tmp_path, 100, seed=0).values()) > 5


@pytest.mark.slow
def test_many_damaged_files(seeds, tmp_path):
    start = time.process_time()
    assert min(check(seeds, tmp_path, 2000, seed=1).values()) > 100
    assert time.process_time() - start < 300


def test_bad_files_do_not_end_a_run_over_a_folder(seeds, tmp_path, caplog):
    from dentalzoo.data.io.images import read_image
    from dentalzoo.data.pipeline.prefetch import for_each

    rng = random.Random(0)
    (tmp_path / "in").mkdir()
    for index in range(20):
        content = seeds[0] if index % 2 else seeds[index % len(seeds)][: rng.randrange(140, 700)]
        (tmp_path / "in" / f"IM{index}").write_bytes(content)
    failed = []
    with caplog.at_level(logging.ERROR, "pydicom"):
        paths = list_images(tmp_path / "in")
        done = [
            path
            for path, *_ in for_each(
                paths, read_image, lambda _, i: i, title="reading", failed=failed
            )
        ]
    assert len(paths) == len(done) + len(failed) and len(done) >= 10 and failed
    assert not [record for record in caplog.records if record.name.startswith("pydicom")]
