//! Uploads over a link that breaks: at every point the file arrives whole,
//! once, under its final name, nothing else is left on the server, and what the
//! server already has is not sent again.
//!
//! A few points are chosen at random each time; `EDGESPOOL_SEED` repeats them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::proxy::{Act, Channel, End, Fault, Way};
use common::scene::{BUFFER, Case, Patience, Scene, Settle, play};
use common::seed;
use common::servers::{Kind, Variant};

fn fault(on: Channel, way: Way, after: u64, act: Act) -> Fault {
    Fault {
        on,
        way,
        after,
        act,
    }
}

/// The data connection ends here, when the server has stored what came before.
fn data_cut(after: u64, end: End) -> [Fault; 2] {
    let fault = |act| fault(Channel::Data, Way::ToServer, after, act);
    [fault(Act::Settle), fault(Act::End(end))]
}

/// An upload of one file that breaks here and there.
fn upload(name: String, faults: &[Fault]) -> Case {
    Case {
        name,
        faults: faults.to_vec(),
        settle: Settle::Delivered,
        certain: true,
        files: vec![SIZE],
        twice_max: BUFFER,
        patience: Patience::Long,
    }
}

/// Where data connections are cut: around the sizes of all buffers on the way,
/// and anywhere.
fn data_points() -> Vec<u64> {
    let mut points = vec![0, 1, 1_459, 1_460, 1_461];
    for power in 12..=21 {
        let size = 1 << power;
        points.extend([size - 1, size, size + 1]);
    }
    let size = SIZE as u64;
    points.extend([size - (64 << 10), size - 1460, size - 2, size - 1, size]);
    let mut rng = fastrand::Rng::with_seed(seed());
    points.extend((0..20).map(|_| rng.u64(..size)));
    points
}

/// The data connection ends, in every way and at many points.
fn data_cuts(one_in: usize) -> Vec<Case> {
    let cut = |(n, after): (usize, u64)| {
        let end = [End::Reset, End::Close][n / one_in % 2];
        upload(
            format!("data ends by {end:?} after {after}"),
            &data_cut(after, end),
        )
    };
    let points = data_points().into_iter().enumerate();
    points.step_by(one_in).map(cut).collect()
}

/// More than one cut, and cuts with nobody to tell of them.
fn harder_cuts() -> Vec<Case> {
    let twice = [
        data_cut(800_000, End::Close),
        data_cut(1_000_000, End::Reset),
    ];
    let control = fault(
        Channel::Data,
        Way::ToServer,
        1_500_000,
        Act::EndControl(End::Reset),
    );
    let mut cases = vec![
        Case {
            // Of one control connection's third data connection ProFTPD may want
            // a TLS session that is spent, and says so when some data has come.
            twice_max: BUFFER + SIZE,
            ..upload("data cut twice".into(), &twice.concat())
        },
        Case {
            // What was on its way is stored, or not, when the agent is back.
            twice_max: SIZE,
            ..upload("control cut amid the data".into(), &[control])
        },
    ];
    // Each costs the time that a silent link is borne.
    for after in [0, 1_500_001] {
        cases.push(Case {
            patience: Patience::Short,
            ..upload(
                format!("data ends by Silence after {after}"),
                &data_cut(after, End::Silence),
            )
        });
    }
    cases
}

/// The reply to the upload is lost, and the link stalls.
fn lost_replies_and_stalls() -> Vec<Case> {
    let mut cases = Vec::new();
    for end in [End::Reset, End::Close, End::Silence] {
        let act = Act::LoseReply(end);
        let lose = fault(Channel::Data, Way::ToServer, SIZE as u64, act);
        cases.push(Case {
            patience: match end {
                End::Silence => Patience::Short,
                _ => Patience::Long,
            },
            ..upload(format!("226 lost by {end:?}"), &[lose])
        });
    }
    let stall = |time| fault(Channel::Data, Way::ToServer, 1_500_000, Act::Stall(time));
    let short = Duration::from_millis(800);
    cases.push(upload("a stall that is borne".into(), &[stall(short)]));
    cases.push(Case {
        patience: Patience::Short,
        // What the link held is delivered when it goes on, to nobody any more.
        twice_max: SIZE / 2 + BUFFER,
        ..upload("a stall too long".into(), &[stall(Duration::from_secs(7))])
    });
    cases
}

/// The control connection ends at every point of an upload's dialogue, or at one
/// in so many.
fn each_point_of_the_dialogue(kind: Kind, one_in: usize) -> Vec<Case> {
    let dialogue = Scene::new(kind, Variant::Plain).dialogue(&[SIZE]);
    let first = fastrand::Rng::with_seed(seed()).usize(..one_in);
    let mut cases = Vec::new();
    for (way, said) in [Way::ToServer, Way::ToClient].into_iter().zip(&dialogue) {
        let accepted = position_of_the_acceptance(way, said);
        let points = (first..=said.len()).step_by(one_in);
        for (n, after) in points_between_lines(kind, way, said, points).enumerate() {
            let end = [End::Reset, End::Close][n % 2];
            let fault = |act| fault(Channel::Control, way, after as u64, act);
            let is_accepted = after >= accepted;
            cases.push(Case {
                // Once it is accepted all of the file gets there, even so.
                settle: if is_accepted {
                    Settle::Whole
                } else {
                    Settle::Delivered
                },
                twice_max: if is_accepted { 0 } else { BUFFER },
                // Nobody waits for the answer to the last command.
                certain: way == Way::ToServer,
                ..upload(
                    format!("control {way:?} ends by {end:?} after {after}"),
                    &[fault(Act::Settle), fault(Act::End(end))],
                )
            });
        }
    }
    cases
}

/// ProFTPD takes the beginning of a line that is cut for the whole, and stores
/// under the beginning of a name. No link does that: a line is one segment. So
/// there the points are moved to the ends of lines.
fn points_between_lines(
    kind: Kind,
    way: Way,
    said: &[u8],
    points: impl Iterator<Item = usize>,
) -> impl Iterator<Item = usize> {
    let mut last = None;
    points.filter_map(move |point| {
        let moved = match (kind, way) {
            (Kind::Proftpd, Way::ToServer) => {
                let rest = said.get(point..)?;
                let end = |at: usize| said[..at].ends_with(b"\n");
                (point..=point + rest.len()).find(|at| *at == 0 || end(*at))?
            }
            _ => point,
        };
        let is_new = last.replace(moved) != Some(moved);
        is_new.then_some(moved)
    })
}

/// From where on the server takes the file (it has the STOR) or the agent knows
/// that it does (it has the 150).
fn position_of_the_acceptance(way: Way, said: &[u8]) -> usize {
    let said = String::from_utf8_lossy(said);
    let line = match way {
        Way::ToServer => said.find("\r\nSTOR "),
        Way::ToClient => said.find("\r\n150 ").or_else(|| said.find("\r\n125 ")),
    };
    let begin = line.unwrap_or_else(|| panic!("no upload in {said:?}")) + 2;
    begin + said[begin..].find("\r\n").unwrap() + 2
}

/// The control connection ends at points spread over a session of three files.
fn control_cuts(way: Way, points: impl Iterator<Item = usize>) -> Vec<Case> {
    let ends = [End::Reset, End::Close];
    let case = |(n, after): (usize, usize)| {
        let end = ends[n % ends.len()];
        let act = Act::End(end);
        Case {
            certain: false,
            files: vec![SIZE / 3; 3],
            // One file is on its way.
            twice_max: SIZE / 3 + BUFFER,
            ..upload(
                format!("control {way:?} ends by {end:?} after {after}"),
                &[fault(Channel::Control, way, after as u64, act)],
            )
        }
    };
    points.enumerate().map(case).collect()
}

fn data_connection(kind: Kind, variant: Variant) {
    let mut cases = data_cuts(if variant.is_tls() { 3 } else { 1 });
    cases.extend(harder_cuts());
    cases.extend(lost_replies_and_stalls());
    play(kind, variant, cases);
}

fn control_connection(kind: Kind, variant: Variant) {
    // TLS spends some thousand bytes on its handshake.
    let (first, step) = match variant.is_tls() {
        true => (100, 331),
        false => (3, 97),
    };
    let points = |count| (0..count).map(move |n| first + n * step);
    let mut cases = control_cuts(Way::ToClient, points(14));
    if variant.is_tls() {
        cases.extend(control_cuts(Way::ToServer, points(8)));
    } else {
        let [said, _] = Scene::new(kind, variant).dialogue(&[SIZE / 3; 3]);
        let points = points_between_lines(kind, Way::ToServer, &said, points(8));
        cases.extend(control_cuts(Way::ToServer, points));
    }
    play(kind, variant, cases);
}

#[test]
fn vsftpd_data_connection_breaks() {
    data_connection(Kind::Vsftpd, Variant::Plain);
}

#[test]
fn proftpd_data_connection_breaks() {
    data_connection(Kind::Proftpd, Variant::Plain);
}

#[test]
fn pure_ftpd_data_connection_breaks() {
    data_connection(Kind::PureFtpd, Variant::Plain);
}

#[test]
fn pyftpdlib_data_connection_breaks() {
    data_connection(Kind::Pyftpdlib, Variant::Plain);
}

#[test]
fn vsftpd_data_connection_breaks_with_tls() {
    data_connection(Kind::Vsftpd, Variant::ExplicitReuse);
}

#[test]
fn proftpd_data_connection_breaks_with_tls() {
    data_connection(Kind::Proftpd, Variant::ExplicitReuse);
}

#[test]
fn pure_ftpd_data_connection_breaks_with_tls() {
    data_connection(Kind::PureFtpd, Variant::Explicit);
}

#[test]
fn pyftpdlib_data_connection_breaks_with_tls() {
    data_connection(Kind::Pyftpdlib, Variant::Explicit);
}

#[test]
fn vsftpd_dialogue_breaks_at_every_byte() {
    let cases = each_point_of_the_dialogue(Kind::Vsftpd, 1);
    play(Kind::Vsftpd, Variant::Plain, cases);
}

#[test]
fn pyftpdlib_dialogue_breaks_at_every_byte() {
    let cases = each_point_of_the_dialogue(Kind::Pyftpdlib, 1);
    play(Kind::Pyftpdlib, Variant::Plain, cases);
}

#[test]
fn proftpd_dialogue_breaks() {
    let cases = each_point_of_the_dialogue(Kind::Proftpd, 5);
    play(Kind::Proftpd, Variant::Plain, cases);
}

#[test]
fn pure_ftpd_dialogue_breaks() {
    let cases = each_point_of_the_dialogue(Kind::PureFtpd, 5);
    play(Kind::PureFtpd, Variant::Plain, cases);
}

#[test]
fn control_connections_break() {
    for kind in Kind::ALL {
        control_connection(kind, Variant::Plain);
    }
}

#[test]
fn control_connections_break_with_tls() {
    for kind in Kind::ALL {
        control_connection(kind, Variant::Explicit);
    }
}

/// Of a file that is cut.
const SIZE: usize = 3_000_000;
