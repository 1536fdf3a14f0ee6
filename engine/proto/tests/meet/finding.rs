//! A hashname is found from nothing but its name.

use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post;
use trunkline_proto::stage::renewal::papers;
use trunkline_proto::switch::meet::Terms;
use trunkline_proto::switch::{Answer, Path, State, Token};
use trunkline_proto::wire::package::Code;

use super::world::{MS, Nat, SECOND, World, guest, identity, relay};

/// A relay and two guests behind NATs, who know the relay and nobody else.
fn strangers(a: Nat, b: Nat) -> (World, usize, usize, usize) {
    let mut w = World::new();
    let v = w.add(Nat::Open, relay());
    let a = w.add(a, guest(&w, v));
    let b = w.add(b, guest(&w, v));
    for guest in [a, b] {
        w.introduce(guest, v, true);
    }
    let lined = |w: &World| [a, b].iter().all(|g| w.path(*g, v).is_some());
    assert!(w.until(5 * SECOND, lined), "no line to the relay");
    (w, v, a, b)
}

/// So many that mesh, of whom all know the first one and nobody else.
fn mesh(count: usize) -> (World, Vec<usize>) {
    let mut w = World::new();
    let v = w.add(Nat::Open, relay());
    let mut all = vec![v];
    while all.len() < count {
        let introducers = vec![w.hashname(v)];
        let spacer = w.add(Nat::Open, Terms { introducers, ..relay() });
        w.introduce(spacer, v, true);
        all.push(spacer);
    }
    (w, all)
}

/// Everybody meets everybody by upkeep alone.
fn meshes(w: &mut World, all: &[usize]) {
    let met =
        |w: &World| all.iter().all(|a| all.iter().all(|b| a == b || w.path(*a, *b).is_some()));
    assert!(w.until(60 * SECOND, met), "not meshed");
}

#[test]
fn s22_two_strangers_behind_any_two_nats_reach_each_other_and_cones_end_direct() {
    for kind_a in Nat::ALL {
        for kind_b in Nat::ALL {
            let (mut w, _, a, b) = strangers(kind_a, kind_b);
            let peer = w.hashname(b);
            w.ping(a, peer, 7);
            let answered = w.until(10 * SECOND, |w| w.answer(a, 7).is_some());
            assert!(answered, "{kind_a:?} to {kind_b:?}: {:?}", w.contact(a, b));
            assert!(matches!(w.answer(a, 7), Some(Answer::Pong(_))), "{kind_a:?} to {kind_b:?}");
            // A symmetric NAT and one that asks for the port cannot meet; all others can.
            let hard = |x, y| x == Nat::Symmetric && matches!(y, Nat::Symmetric | Nat::Port);
            let direct = !hard(kind_a, kind_b) && !hard(kind_b, kind_a);
            let got = w.until(10 * SECOND, |w| w.is_direct(a, b));
            assert_eq!(got, direct, "{kind_a:?} to {kind_b:?}: {:?}", w.contact(a, b));
            if !direct {
                assert!(matches!(w.path(a, b), Some(Path::Bridge(_))));
            }
        }
    }
}

#[test]
fn s27_the_key_comes_before_the_open_from_the_via() {
    let (mut w, _, a, b) = strangers(Nat::Port, Nat::Port);
    let peer = w.hashname(b);
    assert_eq!(w.contact(a, b).map(|c| c.state), None);
    w.ping(a, peer, 1);
    assert!(w.until(10 * SECOND, |w| w.answer(a, 1).is_some()));
    let states: Vec<State> =
        w.places[a].states.iter().filter(|(p, _)| *p == peer).map(|(_, s)| *s).collect();
    let place = |s| states.iter().position(|x| *x == s);
    assert!(place(State::Resolving) < place(State::Resolved), "{states:?}");
    assert!(place(State::Resolved) < place(State::Connecting), "{states:?}");
    assert!(place(State::Connecting) < place(State::Connected), "{states:?}");
}

#[test]
fn s7_an_operator_introduces_two_strangers_end_to_end() {
    let mut w = World::new();
    let v = w.add(Nat::Open, Terms { serves_keys: true, ..Terms::default() });
    let operators = vec![w.hashname(v)];
    let a = w.add(Nat::Open, Terms { operators, ..Terms::default() });
    let b = w.add(Nat::Open, Terms::default());
    w.introduce(a, v, true);
    // Where b is, a knows; its key it does not, and b does not answer for itself.
    w.cut.insert((a.min(b), a.max(b)));
    w.introduce(a, b, false);
    let peer = w.hashname(b);
    w.ping(a, peer, 1);
    assert!(w.until(5 * SECOND, |w| !w.places[v].lookups.is_empty()));
    let (asker, id, who) = w.places[v].lookups[0];
    assert_eq!((asker, who), (w.hashname(a), peer));
    w.cut.clear();
    let papers = Some(papers(&[], identity(b).record().encoded()));
    w.post(v, Role::Meeting, Post::LookedUp { asker, id, who, papers });
    assert!(w.until(5 * SECOND, |w| w.answer(a, 1).is_some()));
    assert!(matches!(w.answer(a, 1), Some(Answer::Pong(_))), "{:?}", w.answer(a, 1));
}

#[test]
fn s7_one_of_two_operators_down_is_no_outage_and_one_that_knows_nothing_neither() {
    let mut w = World::new();
    let serves = || Terms { serves_keys: true, ..Terms::default() };
    let (v, dead) = (w.add(Nat::Open, serves()), w.add(Nat::Open, serves()));
    let empty = w.add(Nat::Open, serves());
    let operators = [dead, empty, v].map(|o| w.hashname(o)).to_vec();
    let a = w.add(Nat::Open, Terms { operators, ..Terms::default() });
    let b = w.add(Nat::Open, Terms::default());
    for operator in [v, dead, empty] {
        w.introduce(a, operator, true);
    }
    w.cut.extend([(dead.min(a), dead.max(a)), (a.min(b), a.max(b))]);
    w.introduce(a, b, false);
    let peer = w.hashname(b);
    w.ping(a, peer, 1);
    let both = |w: &World| [v, empty].iter().all(|o| !w.places[*o].lookups.is_empty());
    assert!(w.until(5 * SECOND, both));
    let (asker, id, who) = w.places[empty].lookups[0];
    w.post(empty, Role::Meeting, Post::LookedUp { asker, id, who, papers: None });
    w.pass(100 * MS);
    w.cut.remove(&(a.min(b), a.max(b)));
    let (asker, id, who) = w.places[v].lookups[0];
    let papers = Some(papers(&[], identity(b).record().encoded()));
    w.post(v, Role::Meeting, Post::LookedUp { asker, id, who, papers });
    assert!(w.until(5 * SECOND, |w| w.answer(a, 1).is_some()));
    assert!(matches!(w.answer(a, 1), Some(Answer::Pong(_))), "{:?}", w.answer(a, 1));
}

#[test]
fn s17_the_key_of_a_known_address_is_fetched_from_there_in_parts() {
    for lost in 0..4 {
        let mut w = World::new();
        let a = w.add(Nat::Port, Terms::default());
        let b = w.add(Nat::Open, Terms::default());
        w.introduce(a, b, false);
        let peer = w.hashname(b);
        w.ping(a, peer, 1);
        // The first few questions are lost.
        w.cut.insert((a, b));
        w.pass(400 * MS * lost);
        w.cut.clear();
        assert!(w.until(10 * SECOND, |w| w.answer(a, 1).is_some()), "{lost} lost");
        assert!(matches!(w.answer(a, 1), Some(Answer::Pong(_))), "{:?}", w.answer(a, 1));
    }
}

#[test]
fn s26_a_line_that_rested_and_is_used_again_is_one_to_be_named() {
    let mut w = World::new();
    let v = w.add(Nat::Open, Terms::default());
    let a = w.add(Nat::Open, Terms::default());
    w.introduce(a, v, true);
    let peer = w.hashname(v);
    let lines = |w: &World| w.places[v].shard.meeting().unwrap().meeting().report(w.now).lines;
    w.ping(a, peer, 1);
    w.pass(SECOND);
    assert_eq!(lines(&w), 1);
    // Renewed once for that ping, and then nobody needs the new keys: half-way between old and dead
    // they are at rest.
    w.pass(280 * SECOND);
    assert_eq!(lines(&w), 0);
    w.ping(a, peer, 2);
    w.pass(SECOND);
    assert!(w.answer(a, 2).is_some());
    assert_eq!(lines(&w), 1);
}

#[test]
fn s14_a_hashname_nobody_knows_is_given_up_soon_and_with_a_code() {
    let (mut w, _, a, _) = strangers(Nat::Port, Nat::Port);
    let nobody = identity(6).hashname();
    w.ping(a, nobody, 9);
    assert!(w.until(5 * SECOND, |w| w.answer(a, 9).is_some()));
    let failed = Answer::Failed { code: Code::NoRoute, by: None };
    assert_eq!(w.answer(a, 9), Some(&failed));
}

#[test]
fn s10_the_nearest_hashnames_of_the_space_are_those_brute_force_finds() {
    let (mut w, all) = mesh(6);
    meshes(&mut w, &all);
    let to = identity(7).hashname();
    w.post(all[3], Role::Meeting, Post::Nearest(Token(5), to));
    assert!(w.until(10 * SECOND, |w| w.answer(all[3], 5).is_some()));
    let mut best: Vec<_> = all.iter().filter(|i| **i != all[3]).map(|i| w.hashname(*i)).collect();
    best.sort_by_key(|h| trunkline_proto::switch::meet::distance::distance(&to, h));
    assert_eq!(w.answer(all[3], 5), Some(&Answer::Nearest(best)));
}

#[test]
fn s22_a_lost_word_about_a_bridge_is_said_again() {
    for first in [true, false] {
        for from in [450, 500, 520, 540, 560] {
            let (mut w, v, a, b) = strangers(Nat::Symmetric, Nat::Symmetric);
            let peer = w.hashname(b);
            w.ping(a, peer, 1);
            w.pass(from * MS);
            // What the relay and one of the two say to each other meanwhile is lost.
            let cut = (v, if first { a } else { b });
            w.cut.insert(cut);
            w.pass(100 * MS);
            w.cut.clear();
            let met = w.until(15 * SECOND, |w| w.answer(a, 1).is_some());
            assert!(met, "{first} from {from} ms: {:?}", w.contact(a, b));
            let answer = w.answer(a, 1);
            assert!(matches!(answer, Some(Answer::Pong(_))), "{first} from {from} ms: {answer:?}");
        }
    }
}

#[test]
fn s26_a_small_mesh_at_rest_is_quiet() {
    let (mut w, all) = mesh(6);
    meshes(&mut w, &all);
    w.pass(180 * SECOND);
    let before = w.sent;
    w.pass(120 * SECOND);
    let each = (w.sent - before) / 12;
    // Five lines with a ping and a pong from either end every 25 s, new keys every 120 s, and now
    // and then a look around.
    assert!((20..=120).contains(&each), "{each} datagrams of a node in a minute");
    // A look-up asks everybody once, and starts nothing else.
    let (before, to) = (w.sent, identity(7).hashname());
    w.post(all[3], Role::Meeting, Post::Nearest(Token(5), to));
    w.pass(5 * SECOND);
    let sent = w.sent - before;
    assert!(w.answer(all[3], 5).is_some());
    assert!(sent <= 60, "{sent} datagrams for a look-up among six");
}

#[test]
fn s26_who_does_not_mesh_keeps_lines_to_its_neighbours_and_is_found_without_its_introducer() {
    let (mut w, all) = mesh(5);
    let [a, b] = [0, 1].map(|n| {
        let g = w.add(Nat::Port, guest(&w, all[n]));
        w.introduce(g, all[n], true);
        g
    });
    w.pass(60 * SECOND);
    let lined = |w: &World| all.iter().filter(|s| w.path(b, **s).is_some()).count();
    assert!(lined(&w) >= 4, "{} lines", lined(&w));
    // Its introducer goes; nobody else was ever told of it.
    for other in 0..7 {
        w.cut.insert((all[1].min(other), all[1].max(other)));
    }
    w.pass(60 * SECOND);
    let peer = w.hashname(b);
    w.ping(a, peer, 3);
    assert!(w.until(10 * SECOND, |w| w.answer(a, 3).is_some()));
    assert!(matches!(w.answer(a, 3), Some(Answer::Pong(_))), "{:?}", w.answer(a, 3));
}

#[test]
fn s14_who_was_known_long_ago_is_let_in_again() {
    for kind in [Nat::Port, Nat::Symmetric] {
        let (mut w, _, a, b) = strangers(Nat::Port, kind);
        let peer = w.hashname(b);
        w.ping(a, peer, 1);
        assert!(w.until(10 * SECOND, |w| w.answer(a, 1).is_some()));
        // The line ends for want of use, and the NATs forget that there was one.
        w.pass(900 * SECOND);
        assert_eq!(w.path(a, b), None);
        [a, b].into_iter().for_each(|g| w.places[g].forget());
        w.pass(60 * SECOND);
        w.ping(a, peer, 2);
        assert!(w.until(5 * SECOND, |w| w.answer(a, 2).is_some()), "{:?}", w.contact(a, b));
        assert!(matches!(w.answer(a, 2), Some(Answer::Pong(_))), "{:?}", w.answer(a, 2));
    }
}

#[test]
fn s21_a_question_that_is_lost_is_asked_again() {
    let (mut w, v, a, _) = strangers(Nat::Open, Nat::Open);
    let to = identity(7).hashname();
    w.cut.insert((v.min(a), v.max(a)));
    w.post(a, Role::Meeting, Post::Nearest(Token(5), to));
    w.pass(300 * MS);
    w.cut.clear();
    assert!(w.until(SECOND, |w| w.answer(a, 5).is_some()));
    assert_eq!(w.answer(a, 5), Some(&Answer::Nearest(vec![w.hashname(v)])));
}
