"""Claims about keys at rest."""

import os
import stat
from pathlib import Path

import msgspec
import pytest

from prsm_node.home import Home
from prsm_node.identity import keystore, passphrases, private_files, wallets
from prsm_node.identity.ed25519 import SigningKey
from prsm_node.identity.keystore import KeyKind, KeystoreError
from prsm_node.identity.passphrases import Passphrase, PassphraseError, Scrypt
from prsm_node.identity.private_files import PrivateFileError
from prsm_node.identity.wallets import WalletError

QUICK = Scrypt(salt=bytes(16), n=2**10)
RIGHT, WRONG = Passphrase("correct horse"), Passphrase("battery staple")


def stored_key(folder: Path, kind: KeyKind = KeyKind.NODE) -> tuple[Path, SigningKey]:
    path, key = folder / "keys" / "node.json", SigningKey.generate()
    keystore.create(path, kind, "node0", key, RIGHT, QUICK)
    return path, key


def rewritten(path: Path, **changes: object) -> None:
    document = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode(document | changes))


def test_a_key_comes_back_with_its_passphrase_only(tmp_path: Path) -> None:
    path, key = stored_key(tmp_path)
    assert keystore.unlock(path, KeyKind.NODE, RIGHT).seed() == key.seed()
    with pytest.raises(PassphraseError, match="does not open"):
        keystore.unlock(path, KeyKind.NODE, WRONG)


def test_the_public_half_is_read_without_a_passphrase(tmp_path: Path) -> None:
    path, key = stored_key(tmp_path)
    described = keystore.describe(path)
    assert (described.kind, described.name, described.public) == (KeyKind.NODE, "node0", key.public)


def test_the_file_holds_no_secret_in_the_clear(tmp_path: Path) -> None:
    path, key = stored_key(tmp_path)
    assert key.seed() not in path.read_bytes()
    assert key.seed().hex().encode() not in path.read_bytes()


def test_files_and_folders_are_their_owners_only_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path, _ = stored_key(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["node.json"]


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    path, key = stored_key(tmp_path)
    with pytest.raises(PrivateFileError, match="never written over"):
        keystore.create(path, KeyKind.NODE, "node0", SigningKey.generate(), RIGHT, QUICK)
    assert keystore.unlock(path, KeyKind.NODE, RIGHT).public == key.public
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path, _ = stored_key(tmp_path)
    path.chmod(mode)
    with pytest.raises(PrivateFileError, match=f"has mode {mode:o}.*chmod 600"):
        keystore.unlock(path, KeyKind.NODE, RIGHT)


def test_a_key_serves_one_purpose(tmp_path: Path) -> None:
    path, _ = stored_key(tmp_path, KeyKind.WALLET)
    with pytest.raises(KeystoreError, match="holds a wallet key where a validator key is wanted"):
        keystore.unlock(path, KeyKind.VALIDATOR, RIGHT)


@pytest.mark.parametrize(
    "change",
    [{"kind": "validator"}, {"name": "mallory"}, {"public": "00" * 32}],
    ids=["kind", "name", "public"],
)
def test_what_stands_beside_the_secret_cannot_be_exchanged(tmp_path: Path, change: dict[str, str]) -> None:
    path, _ = stored_key(tmp_path)
    rewritten(path, **change)
    kind = KeyKind(change.get("kind", "node"))
    with pytest.raises(PassphraseError, match="or the file was changed"):
        keystore.unlock(path, kind, RIGHT)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"kind": "root"},
        {"public": "zz"},
        {"ciphertext": "AAAA"},
        {"extra": 1},
        {"scrypt": {"salt": "AAAAAAAAAAAAAAAAAAAAAA==", "n": 2**20, "r": 32, "p": 1}},
        {"scrypt": {"salt": "AAAAAAAAAAAAAAAAAAAAAA==", "n": 1_500, "r": 8, "p": 1}},
        {"scrypt": {"salt": "AAAAAAAAAAAAAAAAAAAAAA==", "n": 2**40, "r": 8, "p": 1}},
    ],
    ids=["version", "kind", "public", "ciphertext", "unknown", "memory", "no power of two", "beyond"],
)
def test_a_file_that_asks_for_too_much_or_means_nothing_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path, _ = stored_key(tmp_path)
    rewritten(path, **change)
    with pytest.raises(KeystoreError, match=r"is no key file|not allowed"):
        keystore.unlock(path, KeyKind.NODE, RIGHT)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff" * 100, b" " * 5_000], ids=["empty", "cut", "binary", "large"]
)
def test_garbage_in_a_key_file_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    path, _ = stored_key(tmp_path)
    path.write_bytes(data)
    with pytest.raises((KeystoreError, PrivateFileError), match=r"is no key file|larger than"):
        keystore.describe(path)


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(PrivateFileError, match="there is no file"):
        private_files.read(tmp_path / "none", 10)
    with pytest.raises(PrivateFileError, match="is not a file"):
        private_files.read(tmp_path, 10)


def test_keys_made_together_cost_one_stretching(tmp_path: Path) -> None:
    passphrase = Passphrase("correct horse")
    for name in ("a", "b", "c"):
        path = tmp_path / f"{name}.json"
        keystore.create(path, KeyKind.WALLET, name, SigningKey.generate(), passphrase, QUICK)
    nonces = {msgspec.json.decode((tmp_path / f"{name}.json").read_bytes())["nonce"] for name in "abc"}
    assert len(nonces) == 3
    assert passphrase.key(QUICK) is passphrase.key(QUICK)


def test_an_exported_key_comes_back_and_another_text_does_not() -> None:
    key = SigningKey.generate()
    text = keystore.export_text(key)
    assert keystore.parse_export(f" {text}\n").seed() == key.seed()
    for wrong in ("", text[:-3], text + "AAAA", "prsm-secret-2-" + text[14:], key.seed().hex()):
        with pytest.raises(KeystoreError, match="no exported key") as refusal:
            keystore.parse_export(wrong)
        assert text[20:30] not in str(refusal.value)


def test_the_environment_goes_before_the_file_and_the_file_before_the_person(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    private_files.write_new(file, b"from the file\n")
    environment = {"PRSM_PASSPHRASE": "from the environment"}

    def same(found: Passphrase, text: str) -> bool:
        return found.key(QUICK) == Passphrase(text).key(QUICK)

    assert same(passphrases.found(environment, file, lambda: "from the person"), "from the environment")
    assert same(passphrases.found({}, file, lambda: "from the person"), "from the file")
    assert same(passphrases.found({}, None, lambda: "from the person"), "from the person")
    with pytest.raises(PassphraseError, match="set PRSM_PASSPHRASE"):
        passphrases.found({}, None)


def test_a_short_passphrase_and_an_open_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PassphraseError, match="has 7 characters; it takes at least 8"):
        passphrases.chosen("1234567")
    file = tmp_path / "passphrase"
    file.write_text("long enough\n")
    file.chmod(0o644)
    with pytest.raises(PrivateFileError, match="chmod 600"):
        passphrases.from_file(file)
    file.chmod(0o600)
    file.write_text("\n")
    with pytest.raises(PassphraseError, match="holds no passphrase"):
        passphrases.from_file(file)


def test_a_passphrase_does_not_show_itself_and_is_one_however_it_was_typed() -> None:
    assert "horse" not in repr(RIGHT)
    assert Passphrase("caf\u00e9 au lait").key(QUICK) == Passphrase("cafe\u0301 au lait").key(QUICK)


def test_wallets_are_found_by_name_and_listed_as_people_count(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for name in ("dev10", "dev2", "alice"):
        wallets.made(home, name, SigningKey.generate(), RIGHT, QUICK)
    assert [wallet.name for wallet in wallets.listed(home)] == ["alice", "dev2", "dev10"]
    assert wallets.account(home, "dev2") == wallets.address(wallets.stored(home, "dev2"))
    with pytest.raises(WalletError, match="there is no wallet bob; there are alice, dev2, dev10"):
        wallets.account(home, "bob")


@pytest.mark.parametrize("name", ["", "../escape", "a/b", ".hidden", "a" * 65, "a\nb", "prsm1abc", "ä"])
def test_a_wallets_name_is_no_path_and_no_address(tmp_path: Path, name: str) -> None:
    with pytest.raises(WalletError):
        wallets.path_of(Home(tmp_path), name)
