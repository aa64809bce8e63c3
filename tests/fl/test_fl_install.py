"""Installing in FL Studio: found wherever it is, twice as good as once, and gone without a trace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from fakes.fl_pair import Pair

from plugin_bridge import __version__
from plugin_bridge.errors import BridgeError
from plugin_bridge.fl.clip import CLIP_SCRIPT, TAKES_SCRIPT, Take, clip_files
from plugin_bridge.fl.folders import Machine, find_folders, read_shared_data, this_machine
from plugin_bridge.fl.installer import HARDWARE, install, script_files, script_version, status, uninstall
from plugin_bridge.fl.placing import RECORD, Change, place, read_record

ENTRY = f"{HARDWARE}/device_PluginBridge.py"
TAKE = Take("take", 96, ((0, 96, 60, 100),), b"MThd")


def user_data(folder: Path) -> Path:
    """An FL Studio's folder as it is after the first start."""
    for part in (
        "Settings/Hardware/Novation Launchkey",
        "Settings/Piano roll scripts",
        "Presets",
        "Projects",
    ):
        (folder / part).mkdir(parents=True)
    (folder / "Settings/Hardware/Novation Launchkey/device_Launchkey.py").write_text("# name=Launchkey\n")
    (folder / "Settings/Piano roll scripts/mine.pyscript").write_text("mine")
    return folder


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def made(changes: Iterable[Change], what: str) -> int:
    return sum(change.what == what for change in changes)


SHAPES = {
    "windows": "C/Users/me/Documents/Image-Line/FL Studio",
    "onedrive": "C/Users/me/OneDrive/Documents/Image-Line/FL Studio",
    "macos": "Users/me/Documents/Image-Line/FL Studio",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_installed_twice_and_taken_out_the_tree_is_as_before(tmp_path: Path, shape: str) -> None:
    root = user_data(tmp_path / SHAPES[shape])
    before = tree(tmp_path)
    home = tmp_path / SHAPES[shape].partition("me/")[0] / "me"
    platform = "darwin" if shape == "macos" else "win32"
    assert find_folders(None, this_machine(platform, home)) == (root,)
    first = install(root)
    assert {change.what for change in first} == {"written"}
    between = tree(tmp_path)
    assert {change.what for change in install(root)} == {"unchanged"}
    assert tree(tmp_path) == between
    uninstall(root)
    assert tree(tmp_path) == before


def test_a_foreign_file_in_the_way_is_kept_and_comes_back(tmp_path: Path) -> None:
    root = user_data(tmp_path)
    (root / HARDWARE).mkdir()
    (root / ENTRY).write_text("somebody else's")
    (root / TAKES_SCRIPT).write_text("also somebody's")
    before = tree(root)
    assert made(install(root), "kept") == 2
    assert (root / f"{ENTRY}.yours").read_text() == "somebody else's"
    install(root)
    assert made(uninstall(root), "restored") == 2
    assert tree(root) == before


def test_an_edit_of_the_users_is_kept_beside_the_new_file_and_outlives_the_uninstallation(
    tmp_path: Path,
) -> None:
    root = user_data(tmp_path)
    install(root)
    (root / ENTRY).write_text("my own way")
    assert status(root).state == "changed"
    assert status(root).changed == (ENTRY,)
    assert made(install(root), "kept") == 1
    assert status(root).state == "up to date"
    (root / ENTRY).write_text("my second way")
    assert made(install(root), "kept") == 1
    uninstall(root)
    left = sorted(path.name for path in (root / HARDWARE).iterdir())
    assert left == ["device_PluginBridge.py.yours", "device_PluginBridge.py.yours2"]


def test_an_edited_file_is_left_by_the_uninstallation(tmp_path: Path) -> None:
    root = user_data(tmp_path)
    install(root)
    (root / ENTRY).write_text("my own way")
    assert made(uninstall(root), "left") == 1
    assert [path.name for path in (root / HARDWARE).iterdir()] == ["device_PluginBridge.py"]


def test_what_fl_compiles_goes_too_and_what_others_compile_stays(tmp_path: Path) -> None:
    root = user_data(tmp_path)
    before = tree(root)
    install(root)
    cache = root / HARDWARE / "__pycache__"
    cache.mkdir()
    (cache / "bridge_script.cpython-312.pyc").write_bytes(b"compiled")
    uninstall(root)
    assert tree(root) == before


def test_an_earlier_version_is_updated_and_what_it_had_more_goes(tmp_path: Path) -> None:
    root = user_data(tmp_path)
    old = {ENTRY: b"# name=Plugin Bridge\n", f"{HARDWARE}/bridge_old.py": b"old"}
    place(root, old, "0.0.9")
    assert status(root).state == "other version"
    assert status(root).installed == "0.0.9"
    changes = {change.path: change.what for change in install(root)}
    assert changes[ENTRY] == "updated"
    assert changes[f"{HARDWARE}/bridge_old.py"] == "removed"
    assert status(root).state == "up to date"


def test_a_clip_of_later_survives_an_update_and_goes_with_the_rest(tmp_path: Path) -> None:
    root = user_data(tmp_path)
    before = tree(root)
    install(root)
    place(root, clip_files(TAKE, [TAKE]))
    install(root, (TAKE,))
    assert (root / CLIP_SCRIPT).is_file()
    assert status(root).state == "up to date"
    uninstall(root)
    assert tree(root) == before


def test_a_missing_file_shows_and_is_put_back(tmp_path: Path) -> None:
    root = user_data(tmp_path)
    assert status(root).state == "not installed"
    install(root)
    (root / ENTRY).unlink()
    assert status(root).changed == (ENTRY,)
    install(root)
    assert status(root).state == "up to date"


@pytest.mark.parametrize(
    "record",
    ["no json", "[]", '{"version": "1"}', '{"version":"1","files":{"../x":""},"kept":{},"folders":[]}'],
)
def test_a_record_that_is_damaged_or_leads_outside_is_no_record(tmp_path: Path, record: str) -> None:
    root = user_data(tmp_path / "in")
    (tmp_path / "x").write_bytes(b"")
    install(root)
    (root / RECORD).write_text(record)
    assert read_record(root).files == {}
    uninstall(root)
    assert (tmp_path / "x").exists()
    assert made(install(root), "unchanged") == len(script_files()) + 1


def test_a_file_where_a_folder_must_be_is_named(tmp_path: Path) -> None:
    root = user_data(tmp_path)
    (root / HARDWARE).write_text("a file")
    with pytest.raises(BridgeError, match=r"Plugin Bridge: is a file, where Plugin Bridge needs a folder"):
        install(root)
    (root / HARDWARE).unlink()
    (root / ENTRY).mkdir(parents=True)
    with pytest.raises(BridgeError, match=r"device_PluginBridge\.py: is a folder"):
        install(root)


def test_the_scripts_travel_with_the_program() -> None:
    root = Path(__file__).parents[2]
    rule = 'install(DIRECTORY "fl_scripts/Plugin Bridge" DESTINATION plugin_bridge/fl/scripts'
    assert rule in (root / "CMakeLists.txt").read_text()
    assert (root / "fl_scripts/Plugin Bridge").is_dir()


def test_the_installed_script_runs(tmp_path: Path) -> None:
    root = user_data(tmp_path)
    install(root)
    pair = Pair(folder=root / HARDWARE).start()
    assert pair.link.at(pair.time).script_version == script_version(script_files())
    pair.host.finish()


# where FL Studio is


def test_several_versions_are_all_found_and_each_once(tmp_path: Path) -> None:
    documents = tmp_path / "Documents"
    roots = [user_data(documents / "Image-Line" / name) for name in ("FL Studio", "FL Studio 2025 Beta")]
    (documents / "Image-Line" / "FL Studio Mobile").mkdir()
    machine = Machine((documents, documents, tmp_path / "nowhere"), documents / "Image-Line")
    assert find_folders(None, machine) == tuple(roots)


def test_moved_data_come_first(tmp_path: Path) -> None:
    old = user_data(tmp_path / "Documents/Image-Line/FL Studio")
    new = user_data(tmp_path / "Disk D/Music/FL Studio")
    found = find_folders(None, Machine((tmp_path / "Documents",), tmp_path / "Disk D/Music"))
    assert found == (new, old)


def test_macos_preferences_say_where_moved_data_are(tmp_path: Path) -> None:
    root = user_data(tmp_path / "Sounds & Co/FL Studio")
    preferences = tmp_path / "Library/Preferences/Image-Line/reg.xml"
    preferences.parent.mkdir(parents=True)
    moved = str(root.parent).replace("&", "&amp;")
    preferences.write_text(f'<Key Name="Paths"><Value Name="Shared data" Type="2">{moved}</Value></Key>')
    assert find_folders(None, this_machine("darwin", tmp_path)) == (root,)
    preferences.write_text("<XMLReg/>")
    assert read_shared_data(preferences) is None


@pytest.mark.parametrize("given", [".", "..", "../.."])
def test_the_users_folder_may_be_given_at_any_of_its_levels(tmp_path: Path, given: str) -> None:
    root = user_data(tmp_path / "Image-Line" / "FL Studio")
    assert [folder.resolve() for folder in find_folders(root / given, Machine(()))] == [root]


def test_where_there_is_none_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match="start FL Studio once, or give the folder"):
        find_folders(None, Machine((tmp_path,)))
    with pytest.raises(BridgeError, match="no FL Studio user data here"):
        find_folders(tmp_path, Machine(()))


# as a user runs it


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plugin_bridge.cli", "fl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("command", [(), ("install",), ("uninstall",), ("status",), ("clip",)])
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    assert "Usage: plugin-bridge fl" in run(*command, "--help").stdout


def test_from_installation_to_a_clip_and_out_again(tmp_path: Path) -> None:
    root = user_data(tmp_path / "FL Studio")
    before = tree(root)
    song = tmp_path / "takes" / "song.mid"
    song.parent.mkdir()
    assert run("clip", "--last", "--takes", song.parent, "--user-data", root).returncode == 2
    import mido

    notes = [mido.Message("note_on", note=60, velocity=80), mido.Message("note_off", note=60, time=96)]
    mido.MidiFile(ticks_per_beat=96, tracks=[mido.MidiTrack(notes)]).save(song)
    installed = run("install", "--user-data", root, "--takes", song.parent)
    assert installed.returncode == 0, installed.stderr
    assert [line[2] for line in installed.stdout.splitlines()[-3:]] == ["1", "2", "3"]
    state = json.loads(run("status", "--user-data", root, "--json").stdout)
    assert [(each["state"], each["program"]) for each in state] == [("up to date", __version__)]
    clip = run("clip", "--last", "--takes", song.parent, "--user-data", root)
    assert "1 notes of song" in clip.stdout
    assert (root / CLIP_SCRIPT).is_file()
    out = tmp_path / "out"
    out.mkdir()
    written = json.loads(run("clip", song, "--takes", tmp_path / "none", "--out", out, "--json").stdout)
    assert sorted(Path(path).name for path in written) == [
        "Plugin Bridge clip.mid",
        "Plugin Bridge clip.pyscript",
    ]
    assert run("uninstall", "--user-data", root).returncode == 0
    assert tree(root) == before


@pytest.mark.parametrize("arguments", [("clip",), ("clip", "--last", "x.mid"), ("clip", "missing.mid")])
def test_what_cannot_be_done_is_one_line(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("plugin-bridge: error: ")
    assert done.stderr.count("\n") == 1
