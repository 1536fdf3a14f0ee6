//! How hashnames that never met find each other (PROTOCOL §5.14 to §5.16).
//!
//! [`Meeting`] is one for the whole node and off the path of packets. Partitions tell it which
//! lines there are, what peers say about other hashnames, and whom somebody here wants to reach;
//! it tells them what to say, whom to try where, and whose key came. It holds no line, no key and
//! no socket.
//!
//! ```text
//!   somebody wants X ──► operators ──────────────────────► key ─┐
//!         │                                                     ├─► partition opens the line
//!         └────► seek, nearer and nearer ─► V has a line to X ──┤
//!                                             ├─ op: its key ───┘
//!                                             ├─ pop: let me in, and where is it?
//!                                             └─ bridge: carry our packets until that works
//! ```
//!
//! What others say is a hint: a key proves itself, an address has to answer, and a hashname that is
//! named costs nothing until a search gets to it. `table` bounds what one network can contribute,
//! `search` what one liar can mislead; `constants` has all the numbers.

mod bridging;
pub mod constants;
pub mod distance;
mod keys;
mod ourselves;
mod pops;
mod search;
mod searching;
mod table;
mod upkeep;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use self::bridging::Bridging;
use self::keys::Asked;
use self::ourselves::Ourselves;
use self::pops::Pops;
use self::search::Search;
use self::table::Table;
use super::ask::{Introduction, Note, Token};
use super::paths::Path;
use crate::base::{Chance, DropReason, Drops, Hashname, Instant, RateTable};
use crate::wire::meet::Word;
use crate::wire::packet::Packet;

pub use self::ourselves::Nat;
pub use self::searching::SearchReport;

/// What a node does for others, and whom it asks.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Whether this node meshes: answers seeks, introduces, and keeps lines for it.
    pub spacer: bool,
    /// Lines a meshing node aims at.
    pub level: usize,
    /// Who answers for the keys of the space.
    pub operators: Vec<Hashname>,
    /// Hashnames this node keeps a line to, to be found and to find through them.
    pub introducers: Vec<Hashname>,
    /// Hashnames this node keeps a line to only to hear where it is seen from.
    pub witnesses: Vec<Hashname>,
    /// Whether there is a directory of keys here.
    pub serves_keys: bool,
    /// Bridges this node carries at once; none if 0.
    pub bridges: usize,
    /// Bytes a second each of them carries each way.
    pub bridge_rate: u64,
    /// How long each lasts before it is asked for again.
    pub bridge_time: Duration,
    /// Where this node receives, as it sees that itself.
    pub local: Vec<SocketAddr>,
}

impl Default for Terms {
    /// A node that asks nobody and does nothing for others.
    fn default() -> Self {
        Self {
            spacer: false,
            level: constants::LEVEL,
            operators: Vec::new(),
            introducers: Vec::new(),
            witnesses: Vec::new(),
            serves_keys: false,
            bridges: 0,
            bridge_rate: 8 << 20,
            bridge_time: Duration::from_secs(600),
            local: Vec::new(),
        }
    }
}

/// Who brings hashnames together here.
#[derive(Clone, Debug)]
pub struct Host {
    /// Who we are.
    pub us: Hashname,
    /// Our key record and what vouches for us, as they travel.
    pub papers: Bytes,
    /// How many partitions answer a census.
    pub partitions: u16,
}

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// By the partition of that hashname.
    To(Hashname, Introduction),
    /// By every partition.
    All(Introduction),
    /// By any partition.
    Any(Introduction),
    /// Look a key up in the directory, and answer with [`Meeting::looked_up`].
    LookUp {
        /// Who asks.
        asker: Hashname,
        /// Its number for the question.
        id: u64,
        /// Whose key.
        who: Hashname,
    },
    /// The answer to [`Meeting::nearest`].
    Nearest(Token, Vec<Hashname>),
    /// An operator says that these are our papers: the answer to [`Meeting::ask_for_voucher`].
    Vouched(Bytes),
}

/// What a node knows of bringing hashnames together, for status.
#[derive(Clone, Debug)]
pub struct MeetReport {
    /// Lines there are.
    pub lines: usize,
    /// Hashnames seen.
    pub seen: usize,
    /// Searches under way, and those that ended of late.
    pub searches: Vec<SearchReport>,
    /// Where others say this node is.
    pub addresses: Vec<SocketAddr>,
    /// What stands in front of it.
    pub nat: Nat,
    /// Bridges this node carries.
    pub bridges: usize,
    /// Whom this node is to be found through: no line there, or one and whether that one meshes.
    pub introducers: Vec<(Hashname, Option<bool>)>,
}

/// Counters.
#[derive(Clone, Debug, Default)]
pub struct MeetCounters {
    /// Seeks answered.
    pub seeks: u64,
    /// Keys asked for by others.
    pub ops: u64,
    /// Introductions passed on.
    pub pops: u64,
    /// Words sent in lines.
    pub said: u64,
    /// Lines pinged to keep them.
    pub pings: u64,
    /// What went no further.
    pub drops: Drops,
}

/// Brings hashnames together.
#[derive(Debug)]
pub struct Meeting {
    host: Host,
    terms: Terms,
    chance: Chance,
    table: Table,
    searches: BTreeMap<Hashname, Search>,
    ended: VecDeque<SearchReport>,
    asked: BTreeMap<u64, Asked>,
    pops: Pops,
    bridging: Bridging,
    ourselves: Ourselves,
    questions: RateTable,
    /// Questions from outside lines, from each host and from all.
    outside: RateTable,
    strangers: RateTable,
    tick: Option<Instant>,
    ticks: u64,
    censuses: u16,
    orders: VecDeque<Order>,
    counters: MeetCounters,
}

impl Meeting {
    /// Nobody is known yet.
    #[must_use]
    pub fn new(host: Host, terms: Terms, mut chance: Chance) -> Self {
        let (rate, burst) = constants::QUESTIONS;
        Self {
            table: Table::new(host.us),
            searches: BTreeMap::new(),
            ended: VecDeque::new(),
            asked: BTreeMap::new(),
            pops: Pops::new(&mut chance),
            bridging: Bridging::default(),
            ourselves: Ourselves::new(&terms.local),
            questions: RateTable::new(rate, burst, 4_096, &mut chance),
            outside: RateTable::new(rate, burst, 4_096, &mut chance),
            strangers: RateTable::new(constants::OUTSIDE.0, constants::OUTSIDE.1, 1, &mut chance),
            tick: Some(Instant::ZERO),
            ticks: 0,
            censuses: 0,
            orders: VecDeque::new(),
            counters: MeetCounters::default(),
            chance,
            host,
            terms,
        }
    }

    /// Takes the next thing to be done.
    pub fn poll(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// The counters so far.
    #[must_use]
    pub const fn counters(&self) -> &MeetCounters {
        &self.counters
    }

    /// What is known, for status.
    #[must_use]
    pub fn report(&self, now: Instant) -> MeetReport {
        let lined = |who: &Hashname| (*who, self.table.line(who).map(|l| l.spacer));
        let under_way = self.searches.values().map(|s| self.report_search(now, s));
        MeetReport {
            lines: self.table.lines().count(),
            seen: self.table.seen_count(),
            searches: under_way.chain(self.ended.iter().cloned()).collect(),
            addresses: self.ourselves.outside(),
            nat: self.ourselves.nat(),
            bridges: self.bridging.len(),
            introducers: self.terms.introducers.iter().map(lined).collect(),
        }
    }

    /// The next moment at which something happens by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let searches = self.searches.values().map(Search::deadline);
        let asked = self.asked.values().map(|a| a.until);
        let bridging = self.bridging.deadline();
        searches.chain(asked).chain(bridging).chain(self.tick).min()
    }

    /// Does what time demands.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.tick.is_some_and(|t| t <= now) {
            self.keep_up(now);
        }
        self.forget_questions(now);
        self.pops.expire(now);
        self.end_bridging(now);
        self.drive_searches(now);
    }

    /// A partition tells something.
    pub fn note(&mut self, now: Instant, note: Note) {
        match note {
            Note::Line { peer, path, spacer } => self.line_changed(now, peer, path, spacer),
            Note::Heard { peer, path, packet } => {
                if let Err(reason) = self.heard(now, peer, path, &packet) {
                    self.counters.drops.count(reason);
                }
            }
            Note::Asked { from, packet } => {
                if let Err(reason) = self.heard_outside(now, from, &packet) {
                    self.counters.drops.count(reason);
                }
            }
            Note::Find { peer, known, at } => self.find(now, peer, known, &at),
            Note::Found(peer) => self.lost_interest(now, &peer),
            Note::SeenAs { by, us } => self.ourselves.seen_as(by, us),
            Note::Active(lines) => self.counted(now, &lines),
        }
    }

    fn line_changed(&mut self, now: Instant, peer: Hashname, path: Option<Path>, spacer: bool) {
        let Some(path) = path else {
            self.table.down(&peer);
            return self.bridge_end_moved(peer, None);
        };
        let before = self.table.line(&peer).map(|l| l.path);
        let new = self.table.up(now, peer, path, spacer);
        if before == Some(path) {
            return;
        }
        match path {
            Path::Direct(at) => {
                self.bridge_end_moved(peer, Some(at));
                self.relay_moved(peer, at);
            }
            // The two may reach each other without whoever is between them: they try.
            Path::Bridge(_) | Path::Mesh => {
                self.bridge_end_moved(peer, None);
                self.offer(peer);
            }
        }
        // Whatever was sought for this line has come: it is open, or goes another way.
        self.searches_met(now, peer, spacer && new);
    }

    /// A word came in a line.
    fn heard(
        &mut self,
        now: Instant,
        peer: Hashname,
        path: Path,
        packet: &Bytes,
    ) -> Result<(), DropReason> {
        let mut bytes = BytesMut::from(&packet[..]);
        let word = Word::from_json(&Packet::decode(&mut bytes)?)?;
        // All but answers that are looked up by a number that cannot be guessed.
        let answers = matches!(word, Word::Key { .. } | Word::See { .. } | Word::Popping { .. });
        if !answers && !self.questions.allow(now, &peer) {
            return Err(DropReason::RateLimited);
        }
        match word {
            Word::Op { id, who, .. } => self.asked_for_key(peer, id, who),
            Word::Key { id, part } => self.key_came(now, keys::Source::Line(peer), id, part),
            Word::Seek { id, to, .. } => self.sought(peer, id, to),
            Word::See { id, near } => self.saw(now, peer, id, &near),
            Word::Pop { who, at } => self.pop(now, peer, path, who, at),
            Word::Popping { who, at } => self.popping(now, peer, who, at),
            Word::Popped { who, at } => self.popped(now, peer, path, who, at),
            Word::Bridge { who, line } => self.bridge_wanted(now, peer, path, who, line),
            Word::Bridging { who } => self.bridge_offered(now, peer, path, who),
            Word::Bridged { who, grant } => self.bridge_granted(now, peer, path, who, grant),
        }
    }

    /// A word came outside any line, from an address that has proved nothing. It gets no more than
    /// it brought.
    fn heard_outside(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &Bytes,
    ) -> Result<(), DropReason> {
        // Sources outside lines may be anybody's invention: all of them together have a share, which
        // is spent before anything is decoded. Who was asked is no stranger.
        let known = self.strangers.allow(now, &()) || self.awaits_address(from);
        if !known || !self.outside.allow(now, &from.ip()) {
            return Err(DropReason::RateLimited);
        }
        let mut bytes = BytesMut::from(&packet[..]);
        let word = Word::from_json(&Packet::decode(&mut bytes)?)?;
        match word {
            Word::Op { id, who, seq } if who == self.host.us => {
                self.show_ourselves(from, id, seq.unwrap_or(0), packet.len())
            }
            Word::Key { id, part } => self.key_came(now, keys::Source::Address(from), id, part),
            Word::Seek { id, to, via: Some(via) } => {
                self.sought_outside(from, id, to, via, packet.len())
            }
            _ => Err(DropReason::Unhandled),
        }
    }

    /// The application asks who is nearest to something.
    pub fn nearest(&mut self, now: Instant, token: Token, to: Hashname) {
        self.search(now, to, search::Aim::Nearest(token));
    }

    /// Whoever asks for our papers is shown these from now on.
    pub fn show(&mut self, papers: Bytes) {
        self.host.papers = papers;
    }

    fn say(&mut self, peer: Hashname, word: &Word) {
        self.counters.said += 1;
        let packet = word.emit();
        self.to(peer, Introduction::Say { peer, packet });
    }

    fn to(&mut self, peer: Hashname, introduction: Introduction) {
        self.orders.push_back(Order::To(peer, introduction));
    }
}
