use super::*;
use crate::base::BootEpoch;
use crate::wire::announce::Draft;
use crate::wire::link::Cost;
use proptest::prelude::*;

const END: Wall = Wall::from_secs(2_000_000_000);
const SOON: Wall = Wall::from_secs(1_900_000_000);

fn name(n: u8) -> Hashname {
    Hashname::new([n; 32])
}

fn at(secs: u64) -> Instant {
    Instant::from_micros(secs * 1_000_000)
}

/// An announcement of node `n`, "signed" with the byte `mark`.
#[derive(Clone, Debug)]
struct Said {
    n: u8,
    order: (u64, u64, u64),
    neighbours: Vec<u8>,
    mark: u8,
    age: u16,
    life: u16,
}

impl Said {
    fn new(n: u8, epoch: u64, sequence: u64) -> Self {
        Self { n, order: (1, epoch, sequence), neighbours: vec![], mark: 1, age: 0, life: 1_800 }
    }

    fn draft<'a>(&self, neighbours: &'a [Neighbour]) -> Draft<'a> {
        let (serial, epoch, sequence) = self.order;
        let order = Order { serial, epoch: BootEpoch(epoch), sequence };
        Draft {
            life_secs: self.life,
            head: AnnouncementHead { origin: name(self.n).address(), order },
            capabilities: Capabilities(0),
            packing: Default::default(),
            name: NodeName::default(),
            record: &[],
            neighbours,
        }
    }

    fn body(&self) -> Vec<u8> {
        let neighbours: Vec<Neighbour> = self
            .neighbours
            .iter()
            .map(|n| Neighbour { address: name(*n).address(), cost: Cost::ONE })
            .collect();
        let mut body = self.draft(&neighbours).sign(|_| [self.mark; 64]).unwrap().to_vec();
        body[..2].copy_from_slice(&self.age.to_be_bytes());
        body
    }

    fn to(&self, db: &mut Database, now: Instant) -> Result<Installed, DropReason> {
        let body = self.body();
        db.install(now, name(self.n), END, &body, &Announcement::parse(&body).unwrap())
    }

    fn judged(&self, db: &Database) -> Freshness {
        let body = self.body();
        db.judge(&AnnouncementHead::peek(&body).unwrap(), &body[body.len() - 64..])
    }
}

fn database() -> Database {
    Database::new(name(0).address(), &Limits::default())
}

#[test]
fn n11_only_what_is_newer_is_installed() {
    let mut db = database();
    let held = Said::new(1, 5, 5);
    assert_eq!(held.judged(&db), Freshness::Unknown);
    assert_eq!(
        held.to(&mut db, at(0)),
        Ok(Installed { slot: 0, links_changed: true, is_new: true, packing_changed: true })
    );
    assert_eq!(held.judged(&db), Freshness::Same);
    for (order, expected) in [
        ((1, 5, 4), Freshness::Older),
        ((1, 4, 9), Freshness::Older),
        ((0, 9, 9), Freshness::Older),
        ((1, 5, 6), Freshness::Newer),
        ((1, 6, 0), Freshness::Newer),
        ((2, 0, 0), Freshness::Newer),
    ] {
        let said = Said { order, ..held.clone() };
        assert_eq!(said.judged(&db), expected, "{order:?}");
        let stale = expected == Freshness::Older;
        assert!(said.to(&mut database(), at(0)).is_ok());
        if stale {
            assert_eq!(said.to(&mut db, at(0)), Err(DropReason::StaleAnnouncement));
        }
    }
}

#[test]
fn n11_all_nodes_settle_on_one_of_two_with_the_same_order() {
    let (a, b) = (Said::new(1, 5, 5), Said { mark: 2, ..Said::new(1, 5, 5) });
    for row in [[&a, &b], [&b, &a]] {
        let mut db = database();
        let _ = row.map(|said| said.to(&mut db, at(0)));
        assert_eq!(db.get(&name(1).address()).unwrap().signature(), [2; 64]);
    }
}

#[test]
fn n11_a_refresh_changes_no_routes_and_a_new_link_does() {
    let mut db = database();
    let first = Said { neighbours: vec![2, 3], ..Said::new(1, 1, 1) };
    first.to(&mut db, at(0)).unwrap();
    let refresh = Said { order: (1, 1, 2), ..first.clone() };
    assert!(!refresh.to(&mut db, at(600)).unwrap().links_changed);
    let more = Said { order: (1, 1, 3), neighbours: vec![2, 3, 4], ..first };
    assert!(more.to(&mut db, at(1_200)).unwrap().links_changed);
}

#[test]
fn n11_a_second_hashname_with_an_address_is_refused() {
    let mut db = database();
    Said::new(1, 1, 1).to(&mut db, at(0)).unwrap();
    let mut twin = [1; 32];
    twin[31] = 2;
    let body = Said::new(1, 9, 9).body();
    let said = Announcement::parse(&body).unwrap();
    let refused = db.install(at(0), Hashname::new(twin), END, &body, &said);
    assert_eq!(refused, Err(DropReason::Misaddressed));
    assert_eq!(db.get(&name(1).address()).unwrap().order.sequence, 1);
    let mismatch = db.install(at(0), name(2), END, &body, &said);
    assert_eq!(mismatch, Err(DropReason::Misaddressed));
}

#[test]
fn n11_what_is_not_renewed_is_forgotten_after_its_life() {
    let mut db = database();
    Said { age: 1_000, ..Said::new(1, 1, 1) }.to(&mut db, at(0)).unwrap();
    Said { life: 60_000, ..Said::new(2, 1, 1) }.to(&mut db, at(0)).unwrap();
    Said { life: 60, ..Said::new(3, 1, 1) }.to(&mut db, at(0)).unwrap();
    let expiries: Vec<(u64, usize)> = core::iter::from_fn(|| {
        let due = db.next_expiry()?;
        assert!(db.expire(due - Duration::from_micros(1), SOON).is_empty());
        Some((due.as_micros() / 1_000_000, db.expire(due, SOON).len()))
    })
    .collect();
    assert_eq!(expiries, [(60, 1), (800, 1), (1_800, 1)], "none lives longer than the limit");
    let old = Said { age: 1_800, ..Said::new(1, 1, 1) };
    assert_eq!(old.to(&mut db, at(0)), Err(DropReason::Expired));
}

#[test]
fn n11_an_announcement_ends_with_its_record() {
    let mut db = database();
    Said::new(1, 1, 1).to(&mut db, at(0)).unwrap();
    assert!(db.expire(at(1), END.after(Wall::TOLERANCE)).is_empty());
    let past = END.after(Wall::TOLERANCE).after(Duration::from_secs(1));
    assert_eq!(db.expire(at(1), past), [name(1).address()]);
    assert!(db.is_empty());
}

#[test]
fn n11_age_grows_by_a_second_a_hop_at_least() {
    let mut db = database();
    Said { age: 10, ..Said::new(1, 1, 1) }.to(&mut db, at(0)).unwrap();
    let entry = db.get(&name(1).address()).unwrap();
    assert_eq!(entry.age_to_send(at(0)), 11);
    assert_eq!(entry.age_to_send(at(90)), 101);
    assert_eq!(entry.age(at(90)), Duration::from_secs(100));
    assert_eq!(entry.age_to_send(at(1 << 30)), u16::MAX);
}

#[test]
fn n11_an_origin_is_held_to_its_pace() {
    let mut db = database();
    let origin = name(1).address();
    for sequence in 1..=3 {
        assert_eq!(db.waits_until(at(100), &origin), None);
        Said::new(1, 1, sequence).to(&mut db, at(100)).unwrap();
    }
    assert_eq!(db.waits_until(at(100), &origin), Some(at(101)));
    assert_eq!(db.waits_until(at(101), &origin), None);
}

#[test]
fn n11_the_table_is_bounded_and_its_places_are_used_again() {
    let limits = Limits { origins: 3, neighbours: 2, ..Limits::default() };
    let mut db = Database::new(name(0).address(), &limits);
    for n in 1..=3 {
        assert_eq!(Said::new(n, 1, 1).to(&mut db, at(0)).unwrap().slot, u32::from(n) - 1);
    }
    assert_eq!(Said::new(4, 1, 1).to(&mut db, at(0)), Err(DropReason::TableFull));
    assert!(Said::new(2, 1, 2).to(&mut db, at(0)).is_ok(), "who is known can still renew");
    assert!(Said::new(0, 1, 1).to(&mut db, at(0)).is_ok(), "one's own word finds room");
    assert!(db.remove(&name(0).address()).is_some());
    db.remove(&name(2).address());
    assert_eq!(Said::new(4, 1, 1).to(&mut db, at(0)).unwrap().slot, 1, "the last place freed");
    let many = Said { neighbours: vec![5, 6, 7], ..Said::new(1, 2, 1) };
    assert_eq!(many.to(&mut db, at(0)), Err(DropReason::LimitBroken));
}

#[test]
fn n11_hubs_share_what_room_there_is_for_many_neighbours() {
    let mut db = database();
    let hub = |n: u16, sequence: u64, count: u16| {
        let place = |k: u16| Address::new(core::array::from_fn(|i| k.to_be_bytes()[i % 2]));
        let one = |k| Neighbour { address: place(k), cost: Cost::ONE };
        let neighbours: Vec<Neighbour> = (0..count).map(one).collect();
        let mut who = [0xff; 32];
        who[1..3].copy_from_slice(&n.to_be_bytes());
        let who = Hashname::new(who);
        let draft = Draft {
            head: AnnouncementHead {
                origin: who.address(),
                order: Order { serial: 1, epoch: BootEpoch(1), sequence },
            },
            ..Said::new(1, 1, 1).draft(&neighbours)
        };
        (who, draft.sign(|_| [1; 64]).unwrap())
    };
    let mut install = |(who, body): (Hashname, Bytes)| {
        db.install(at(0), who, END, &body, &Announcement::parse(&body).unwrap())
    };
    // 68 times 960 beyond the first 64 of each.
    for n in 0..68 {
        assert!(install(hub(n, 1, 1_024)).is_ok(), "{n}");
    }
    assert_eq!(install(hub(68, 1, 1_024)), Err(DropReason::TableFull));
    assert!(install(hub(5, 2, 1_024)).is_ok(), "who has room keeps it");
    assert!(install(hub(69, 1, 64)).is_ok(), "few neighbours always find room");
    assert!(install(hub(7, 2, 1)).is_ok());
    assert!(install(hub(68, 1, 1_024)).is_ok(), "what one gives back another may use");
}

#[test]
fn n11_stretches_list_what_lies_between() {
    let mut db = database();
    for n in [7, 3, 5] {
        Said::new(n, 1, 1).to(&mut db, at(0)).unwrap();
    }
    let listed = |a: u8, b: u8| {
        let found = db.stretch(name(a).address(), name(b).address());
        found.map(|(_, e)| e.origin.as_bytes()[0]).collect::<Vec<_>>()
    };
    assert_eq!(listed(0, 255), [3, 5, 7]);
    assert_eq!(listed(4, 7), [5, 7]);
    assert_eq!(listed(5, 4), []);
}

proptest! {
    #[test]
    fn n11_databases_agree_whatever_the_order_of_arrival(
        said in prop::collection::vec((1u8..5, 0u64..3, 0u64..4, 1u8..4), 1..40)
            .prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle())),
    ) {
        let fill = |row: &[(u8, u64, u64, u8)]| {
            let mut db = database();
            for &(n, epoch, sequence, mark) in row {
                let _ = Said { mark, ..Said::new(n, epoch, sequence) }.to(&mut db, at(0));
            }
            db.entries().map(|(_, e)| e.body.clone()).collect::<Vec<_>>()
        };
        prop_assert_eq!(fill(&said.0), fill(&said.1));
    }
}
