use std::path::Path;

use super::*;
use crate::receive::files::{Upload, VirtualPath};
use crate::receive::inbox::NoInbox;
use crate::receive::options::{Folder, Permissions, Quota, Target};
use crate::receive::tests::{options, user};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn users(dir: &Path, change: impl FnOnce(&mut ReceiveOptions)) -> Users {
    let mut options = options(vec![user("camera", dir)]);
    change(&mut options);
    Users::new(&Sys::os().unwrap(), &options, Rc::new(NoInbox))
}

fn login(users: &Users, name: &str, password: &str, from: &str) -> Result<Rc<Account>, LoginError> {
    let (password, from) = (Secret::from(password), from.parse().unwrap());
    smol::block_on(users.login(name.as_bytes(), &password, from))
}

#[test]
fn only_the_right_name_and_password_get_in() {
    let dir = tempfile::tempdir().unwrap();
    let users = users(dir.path(), |options| {
        let hash = PasswordHash::make(&Secret::from("secret"), &[1; 16]).unwrap();
        options.users[0].password = PasswordHash::parse(&hash).unwrap();
    });
    for (name, password) in [
        ("camera", "wrong"),
        ("camera", ""),
        ("Camera", "secret"),
        ("nobody", "secret"),
        ("", ""),
        ("anonymous", "me@example.org"),
    ] {
        let refused = login(&users, name, password, "127.0.0.1").err();
        assert_eq!(refused, Some(LoginError::Wrong), "{name} {password}");
    }
    for _ in 0..2 {
        let account = login(&users, "camera", "secret", "127.0.0.1").unwrap();
        assert_eq!(account.name(), "camera");
    }
}

#[test]
fn a_password_that_was_right_is_not_hashed_again_and_a_wrong_one_always_is() {
    let dir = tempfile::tempdir().unwrap();
    let users = users(dir.path(), |_| {});
    login(&users, "camera", "secret", "127.0.0.1").unwrap();
    // From now on no comparison can end.
    let _held = smol::block_on(users.comparing.lock());
    login(&users, "camera", "secret", "127.0.0.1").unwrap();
    let wrong = Secret::from("wrong");
    let waiting = users.login(b"camera", &wrong, HERE);
    assert!(smol::block_on(smol::future::poll_once(waiting)).is_none());
}

#[test]
fn a_user_comes_only_from_where_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let users = users(dir.path(), |options| {
        options.users[0].from = vec!["192.168.1.0/24".parse().unwrap()];
    });
    login(&users, "camera", "secret", "192.168.1.7").unwrap();
    login(&users, "camera", "secret", "::ffff:192.168.1.7").unwrap();
    let refused = login(&users, "camera", "secret", "192.168.2.7").err();
    assert_eq!(refused, Some(LoginError::Address));
}

#[test]
fn anonymous_gets_in_only_where_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let without = users(dir.path(), |_| {});
    assert!(!without.is_anonymous(b"anonymous"));
    let with = users(dir.path(), |options| {
        options.anonymous = Some(user("anonymous", dir.path()));
    });
    for name in ["anonymous", "ftp", "FTP"] {
        assert!(with.is_anonymous(name.as_bytes()));
        assert!(login(&with, name, "", "127.0.0.1").is_ok());
    }
    assert!(login(&with, "camera", "", "127.0.0.1").is_err());
}

#[test]
fn a_folder_that_is_not_there_is_named_and_found_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    let users = users(&gone, |_| {});
    match login(&users, "camera", "secret", "127.0.0.1").err() {
        Some(LoginError::Folder(why)) => assert!(why.contains("gone"), "{why}"),
        other => panic!("{other:?}"),
    }
    std::fs::create_dir(&gone).unwrap();
    let account = login(&users, "camera", "secret", "127.0.0.1").unwrap();
    // Replaced on disk: the next login is to the new one.
    std::fs::rename(&gone, dir.path().join("old")).unwrap();
    std::fs::create_dir(&gone).unwrap();
    let anew = login(&users, "camera", "secret", "127.0.0.1").unwrap();
    assert!(!Rc::ptr_eq(&account, &anew));
    let again = login(&users, "camera", "secret", "127.0.0.1").unwrap();
    assert!(Rc::ptr_eq(&again, &anew));
}

#[test]
fn what_was_there_before_the_login_counts_for_the_quota() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    std::fs::write(dir.path().join("sub/old"), [0; 90]).unwrap();
    let users = users(dir.path(), |options| {
        options.users[0].quota = Quota {
            max_bytes: Some(100),
            ..Quota::default()
        };
        options.users[0].permissions = Permissions::ALL;
        options.users[0].folders = vec![Folder {
            name: Vec::new(),
            target: Target::Dir(dir.path().to_owned()),
        }];
    });
    let account = login(&users, "camera", "secret", "127.0.0.1").unwrap();
    let path = VirtualPath::root().join(b"new").unwrap();
    let opened = smol::block_on(account.open_upload(&path, Upload::Store));
    let mut incoming = opened.unwrap();
    incoming.write(&[0; 10]).unwrap();
    assert_eq!(incoming.write(&[0]).unwrap_err().code(), 552);
}
