"""Models made elsewhere: read as the service gave them out, refused without harm when broken."""

import base64
import io
import random
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
import vowpalwabbit

from app.contracts.decisions import Slot
from app.contracts.learning.policies import DEFAULT, ORIGINAL
from batch.decisions.dsjson import line
from batch.decisions.imported import check, read
from batch.decisions.learner import Learner
from batch.errors import BadModel
from tests.app.api.decisions.operators.test_model import damaged
from tests.batch.decisions.rows import joined

# What release 9.0.1 saved, begun as the service began it, when N had earned 1 fifty times.
OLD = (
    "c-muQU|_J+Gte_+U;(oH^c@*;85kP&1KA8h45(lW5G&~FCMU%wrldg_sTBn|`9-"
    "M+fs)FCRE6A<A`q`QKQS>r2Pl(Unp2XQlbM$a7cEN6%LZ~%3yL#y^79l7^o$H3z{t|Vz{uDLD3_L5R9q6DpO;e!<"
    "m99#7UgB;r2{pVqym*27#Kn|n3$Vbnwyvc)fD8HrxwMRC>Q|Qg{6rpK&6?<3RYHNkL~+Y(P9MkM+%f?g!}A3kpqO"
    "`38Vv7%#;i}fS?=fVF7|rg9=~<M=&9aVyZ(0AMAJTWMsJfwsFtNg{ICRdt#2F@;M%&@|S-`<<D8mgu-"
    "unj>-oBu*`Lb"
)


def model_of(folder: Path, arguments: str = ORIGINAL.arguments) -> bytes:
    """A model that has learned a little, under a name as the service gave it."""
    path = folder / "made.vw"
    vw = vowpalwabbit.Workspace(f"{arguments} --dsjson --quiet --id 7c1b/N")
    for number in range(20):
        vw.learn(line(joined(number)))
    vw.save(str(path))
    vw.finish()
    return path.read_bytes()


def zipped(**files: bytes) -> bytes:
    with io.BytesIO() as made:
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name.replace("_", "."), data)
        return made.getvalue()


def test_a_model_is_read_with_the_policy_that_it_holds(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    (tmp_path / "model.vw").write_bytes(model)
    found = read(tmp_path / "model.vw")
    assert found.model == model and not found.signed
    assert found.vowpal == vowpalwabbit.__version__
    said = "--cb_explore_adf --cb_type mtr --epsilon 0.2 --learning_rate 0.001 --power_t 0"
    assert found.arguments == f"{said} --quadratic ::"


def test_a_zip_of_signed_models_is_read_and_its_signature_passed_over(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    made = zipped(model_vw=model, signer_der=b"a certificate", sha512signature_bin=b"a signature")
    (tmp_path / "model.vw.zip").write_bytes(made)
    found = read(tmp_path / "model.vw.zip")
    assert found.signed and found.model == model


def test_a_model_of_an_earlier_release_goes_on(tmp_path: Path) -> None:
    found = check(zlib.decompress(base64.b85decode(OLD)), "old")
    assert (found.vowpal, found.arguments.split()[-1]) == ("9.0.1", "::")
    learner = Learner.load(found.model, found.arguments)
    told = b'{"FromUrl":[{"t":"m"}],"_multi":[{"i":{"id":"M"}},{"i":{"id":"N"}}]}'
    decided = joined(0, context=told, slots=(Slot("", (2, 1), (0.9, 0.1)),))
    assert learner.teach(line(decided))[0] == pytest.approx((0.1, 0.9))
    learner.close()


@pytest.mark.parametrize(
    "arguments",
    [
        "--ccb_explore_adf --epsilon 0.2 -q ::",
        f"{DEFAULT.arguments} -b 20 --interactions ::: --ignore_linear j",
        "--cb_explore_adf --squarecb --gamma_scale 500 -q ::",
    ],
)
def test_other_policies_come_through(tmp_path: Path, arguments: str) -> None:
    vw = vowpalwabbit.Workspace(f"{arguments} --quiet")
    vw.save(str(tmp_path / "made.vw"))
    vw.finish()
    found = read(tmp_path / "made.vw").arguments
    vw = vowpalwabbit.Workspace(f"{found} --quiet")
    vw.save(str(tmp_path / "again.vw"))
    vw.finish()
    assert (tmp_path / "again.vw").read_bytes() == (tmp_path / "made.vw").read_bytes()


def test_what_a_policy_may_not_say_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    model, target = model_of(tmp_path), tmp_path / "written"
    old = b" --learning_rate 0.00100000004749745 "
    evil = f" --final_regressor {target} ".encode()
    at = model.index(b" --cb_adf") - 4
    (length,) = struct.unpack_from("<I", model, at)
    head = model[:at] + struct.pack("<I", length - len(old) + len(evil))
    with pytest.raises(BadModel, match="final_regressor"):
        check(head + model[at + 4 :].replace(old, evil), "x")
    assert not target.exists()


def text(told: bytes) -> bytes:
    return struct.pack("<I", len(told) + 1) + told + b"\0"


def test_an_id_that_brings_options_along_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    target = tmp_path / "written"
    words = ["--cb_explore_adf", "--quiet", "--id", f"x --predictions {target}"]
    vw = vowpalwabbit.Workspace(arg_list=words)
    vw.save(str(tmp_path / "made.vw"))
    vw.finish()
    assert not target.exists()
    with pytest.raises(BadModel, match="its id is 'x --predictions"):
        read(tmp_path / "made.vw")
    assert not target.exists()


@pytest.mark.parametrize("release", [b"8.0.0", b"8.5.0", b"4294967304.0.0", b"10.0.0", b"9.1"])
def test_a_model_that_calls_itself_another_release_is_refused_before_it_is_loaded(
    tmp_path: Path, release: bytes
) -> None:
    """Up to 8.0.2 there was no id: where it stands Vowpal Wabbit reads options, we read others."""
    target = tmp_path / "written"
    theirs = b" --cb_adf --cb_explore_adf --csoaa_ldf multiline --csoaa_rank --predictions "
    id = struct.pack("<5xIIII", 18, 0, 0, 0) + text((theirs + bytes(target)).ljust(0x100))
    id += bytes((ord("m") - len(id)) % 256)  # its length is "m" to whom expects no id
    ours = struct.pack("<c8xIIII", b"m", 18, 0, 0, 0) + text(b"--cb_explore_adf")
    model = text(release) + struct.pack("<I", len(id)) + id + ours
    with pytest.raises(BadModel, match="a release from 8.6 on"):
        check(model, "forged")
    assert not target.exists()


def test_what_vowpal_wabbit_reads_otherwise_than_we_do_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vw = vowpalwabbit.Workspace("--cb_explore_adf --ngram 2 --quiet")
    vw.save(str(tmp_path / "made.vw"))
    vw.finish()
    with pytest.raises(BadModel, match="n-grams"):
        read(tmp_path / "made.vw")
    head = ("9.11.9", "--cb_explore_adf")
    monkeypatch.setattr("batch.decisions.imported._head", lambda model, name: head)
    with pytest.raises(BadModel, match="cannot have '--ngram'"):
        read(tmp_path / "made.vw")


def test_what_chooses_nothing_is_refused(tmp_path: Path) -> None:
    vw = vowpalwabbit.Workspace("-q :: --quiet")
    vw.save(str(tmp_path / "plain.vw"))
    vw.finish()
    with pytest.raises(BadModel, match="must contain --cb_explore_adf"):
        read(tmp_path / "plain.vw")


def test_garbage_is_refused_without_harm(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    for cut in (0, 3, 20, 60, 200):
        with pytest.raises(BadModel):
            check(model[:cut], "cut")
    odd, refused = random.Random(5), 0
    for _ in range(20):
        broken = bytearray(model)
        broken[odd.randrange(300)] ^= 1 << odd.randrange(8)
        try:
            check(bytes(broken), "flipped")
        except BadModel as error:
            refused += str(error).startswith("flipped: ")
    assert refused > 10


@pytest.mark.parametrize(
    "made, why",
    [
        (zipped(other_vw=b"x"), "one model.vw"),
        (zipped(model_vw=b"x" * 40), "no model of Vowpal Wabbit"),
        (zipped(model_vw=b"x")[:-8], "cannot be read"),
        (b"PK\x03\x04" + b"\0" * 100, "cannot be read"),
        (b"PK\x03\x04" + zipped(model_vw=b"x")[14:], "cannot be read"),
        (damaged(zipfile.ZIP_BZIP2), "cannot be read"),
        (damaged(zipfile.ZIP_LZMA), "cannot be read"),
    ],
)
def test_a_zip_that_holds_no_model_is_refused(made: bytes, why: str) -> None:
    with pytest.raises(BadModel, match=why):
        check(made, "x")


def test_a_zip_that_would_fill_the_memory_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch.decisions.imported.MAX_BYTES", 1 << 20)
    with pytest.raises(BadModel, match="at most"):
        check(zipped(model_vw=bytes(1 << 26)), "bomb")
