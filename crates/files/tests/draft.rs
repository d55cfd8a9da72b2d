//! Drafts beside everything that somebody else may have put there: links, files, folders of others,
//! a umask of any kind.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use countersign_files::{Created, Draft, sweep};
use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
    process::Command,
};

/// Somebody else.
const OTHER: u32 = 65_534;

fn names(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn create(target: &Path, bytes: &[u8]) -> std::io::Result<Created> {
    let mut draft = Draft::create(target, 0o600)?;
    draft.write(bytes)?;
    draft.link()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn a_file_is_made_whole_with_its_mode_and_nothing_is_left_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("key");
    assert_eq!(create(&target, b"first").unwrap(), Created::New);
    assert_eq!(create(&target, b"second").unwrap(), Created::AlreadyThere);
    assert_eq!((fs::read(&target).unwrap(), mode(&target)), (b"first".to_vec(), 0o600));
    let mut draft = Draft::create(&target, 0o644).unwrap();
    draft.write(b"third").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"first", "not before it is put into place");
    draft.replace().unwrap();
    assert_eq!((fs::read(&target).unwrap(), mode(&target)), (b"third".to_vec(), 0o644));
    drop(Draft::create(&target, 0o600).unwrap());
    assert_eq!(names(folder.path()), ["key"]);
    assert!(create(&folder.path().join("absent/key"), b"").is_err());
}

#[test]
fn drafts_have_names_that_nobody_foresees_and_belong_to_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("key");
    let drafts: Vec<_> = (0..100).map(|_| Draft::create(&target, 0o600).unwrap()).collect();
    assert_eq!(names(folder.path()).len(), 100, "each has its own, and none was taken for a leftover");
    for draft in &drafts {
        let name = draft.path().file_name().unwrap().to_str().unwrap();
        assert!(!name.contains(&std::process::id().to_string()) || name.len() > 20, "{name}");
        assert_eq!(mode(draft.path()), 0o600);
    }
}

#[test]
fn what_killed_processes_left_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("key");
    let working = Draft::create(&target, 0o600).unwrap();
    let victim = folder.path().join("victim");
    fs::write(&victim, "").unwrap();
    let left = ".key.0123456789abcdef.draft";
    let kept = [
        ".key.0123456789abcde.draft",
        ".key.0123456789abcdeF.draft",
        ".key.0123456789abcdef0.draft",
        ".key.0123456789abcdef",
        ".other.0123456789abcdef.draft",
        "key.0123456789abcdef.draft",
    ];
    for name in kept.iter().chain([&left]) {
        fs::write(folder.path().join(name), "left").unwrap();
    }
    symlink(&victim, folder.path().join(".key.00000000000000aa.draft")).unwrap();
    fs::create_dir(folder.path().join(".key.00000000000000bb.draft")).unwrap();
    if is_root() {
        let foreign = folder.path().join(".key.00000000000000cc.draft");
        fs::write(&foreign, "").unwrap();
        chown(&foreign, Some(OTHER), None).unwrap();
    }
    sweep(&target);
    let found = names(folder.path());
    assert!(!found.iter().any(|name| name == left));
    for name in kept.iter().chain(&["victim", ".key.00000000000000aa.draft", ".key.00000000000000bb.draft"]) {
        assert!(found.iter().any(|found| found == name), "{name} is gone");
    }
    assert_eq!(found.iter().any(|name| name.contains("00cc")), is_root(), "what is somebody else's stays");
    assert!(working.path().exists(), "a draft that is worked on stays");
}

#[test]
fn a_link_or_a_file_of_somebody_else_in_the_place_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (target, victim) = (folder.path().join("key"), folder.path().join("victim"));
    fs::write(&victim, "untouched").unwrap();
    symlink(&victim, &target).unwrap();
    assert_eq!(create(&target, b"secret").unwrap_err().kind(), ErrorKind::PermissionDenied);
    fs::remove_file(&target).unwrap();
    symlink(folder.path().join("nowhere"), &target).unwrap();
    assert_eq!(create(&target, b"secret").unwrap_err().kind(), ErrorKind::PermissionDenied);
    fs::remove_file(&target).unwrap();
    fs::create_dir(&target).unwrap();
    assert_eq!(create(&target, b"secret").unwrap_err().kind(), ErrorKind::PermissionDenied);
    fs::remove_dir(&target).unwrap();
    if is_root() {
        fs::write(&target, "theirs").unwrap();
        chown(&target, Some(OTHER), None).unwrap();
        assert_eq!(create(&target, b"secret").unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(fs::read(&target).unwrap(), b"theirs");
    }
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    assert!(names(folder.path()).iter().all(|name| !name.ends_with(".draft")));
}

#[test]
fn replacing_a_link_leaves_what_it_led_to() {
    let folder = tempfile::tempdir().unwrap();
    let (target, victim) = (folder.path().join("jwks.json"), folder.path().join("victim"));
    fs::write(&victim, "untouched").unwrap();
    symlink(&victim, &target).unwrap();
    let mut draft = Draft::create(&target, 0o644).unwrap();
    draft.write(b"{}").unwrap();
    draft.replace().unwrap();
    assert_eq!(
        (fs::read(&victim).unwrap(), fs::read(&target).unwrap()),
        (b"untouched".to_vec(), b"{}".to_vec())
    );
    assert!(fs::symlink_metadata(&target).unwrap().is_file());
}

/// Run in a process of its own by the test below: one process has one umask.
#[test]
fn as_a_child_a_file_has_its_mode() {
    let Ok(folder) = std::env::var("DRAFT_FOLDER") else { return };
    let folder = Path::new(&folder);
    for (name, wanted) in [("private", 0o600), ("public", 0o644)] {
        let mut draft = Draft::create(&folder.join(name), wanted).unwrap();
        draft.write(b"x").unwrap();
        draft.link().unwrap();
        assert_eq!(mode(&folder.join(name)), wanted);
    }
}

#[test]
fn a_file_has_its_mode_whatever_the_umask_in_a_sticky_folder_and_as_another_user() {
    let program = std::env::current_exe().unwrap();
    for umask in ["0", "022", "0777"] {
        for as_other in [false, true] {
            if as_other && !is_root() {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o1777)).unwrap();
            // Where the other user can read it.
            let copy = folder.path().join("test-program");
            fs::copy(&program, &copy).unwrap();
            fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
            let user = if as_other { "setpriv --reuid 65534 --regid 65534 --clear-groups" } else { "" };
            let line = format!(
                "umask {umask} && exec {user} {} --exact as_a_child_a_file_has_its_mode",
                copy.display()
            );
            let done =
                Command::new("sh").args(["-c", &line]).env("DRAFT_FOLDER", folder.path()).output().unwrap();
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success(), "umask {umask}, other {as_other}: {said}");
            let owner = fs::metadata(folder.path().join("private")).unwrap().uid();
            assert_eq!(owner == OTHER, as_other);
        }
    }
}
