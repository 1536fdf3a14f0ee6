//! Why a line is as it is, from what the workers report.

use trunkline_proto::base::Hashname;
use trunkline_proto::switch::meet::MeetReport;
use trunkline_proto::switch::{State, Tried};

use super::{Owner, advice, micros, millis, way};
use crate::control::finding::{BridgeAsked, PathTried, SearchState, SeekReport, WhyReport};
use crate::control::protocol::{Fault, codes};
use crate::handle::named;
use crate::runtime::letters::Report;

/// How long a look around may take: as long as a search does.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(21);

impl Owner {
    /// All that is known of the way to a hashname, and what to do about it.
    pub(super) fn why_it_is(&self, to: Hashname) -> WhyReport {
        let reports = self.handle.report().unwrap_or_default();
        let mut why = self.way_there(to, &reports);
        why.advice = advice::advice(&why, &reports);
        why
    }

    fn way_there(&self, to: Hashname, reports: &[Report]) -> WhyReport {
        let routes = reports.iter().find_map(|r| r.routes.clone());
        let contact = reports.iter().flat_map(|r| &r.contacts).find(|c| c.hashname == to);
        let meeting = reports.iter().find_map(|r| r.meeting.as_ref());
        let mut why = WhyReport {
            hashname: to.to_string(),
            state: contact.map_or(State::Unknown, |c| c.state).label().to_owned(),
            search: meeting.and_then(|m| search(m, &to)),
            nat: meeting.map_or("unknown", |m| m.nat.label()).to_owned(),
            seen_at: meeting
                .map_or_else(Vec::new, |m| m.addresses.iter().map(ToString::to_string).collect()),
            ..WhyReport::default()
        };
        let Some(contact) = contact else { return why };
        let show = |path| way(path, &to, routes.as_deref());
        why.way = contact.path.map(show).unwrap_or_default();
        why.datagram_bytes = contact.datagram.map(|n| n as u64);
        why.idle_ms = contact.silent.map(millis);
        why.key = contact.known;
        why.retry_ms = contact.next.map(millis);
        why.addresses = contact.addresses.iter().map(ToString::to_string).collect();
        why.paths = contact
            .paths
            .iter()
            .map(|p| PathTried {
                path: show(p.path),
                result: match p.tried {
                    Tried::Answers(_) => "answers",
                    Tried::Waiting => "waiting",
                    Tried::Silent => "silent",
                }
                .to_owned(),
                rtt_us: match p.tried {
                    Tried::Answers(rtt) => Some(micros(rtt)),
                    Tried::Waiting | Tried::Silent => None,
                },
                ago_ms: millis(p.ago),
            })
            .collect();
        why.bridges = contact
            .bridges
            .iter()
            .map(|(relay, state)| BridgeAsked {
                relay: relay.to_string(),
                state: match state {
                    None => "asked",
                    Some(Ok(_)) => "carries",
                    Some(Err(no)) => no.label(),
                }
                .to_owned(),
            })
            .collect();
        why
    }

    /// Who is nearest to something.
    pub(super) fn look_around(&self, what: &str) -> Result<SeekReport, Fault> {
        let to = named(what);
        let found = self.handle.nearest(to, PATIENCE);
        let found = found.map_err(|failure| super::fault(failure, &to))?;
        if found.is_empty() {
            return Err(Fault::new(
                codes::NO_ROUTE,
                "nobody could be asked: this node has no line to one that meshes; give it a [[peer]] \
                 with introducer = true",
            ));
        }
        let hashnames = found.iter().map(ToString::to_string).collect();
        Ok(SeekReport { to: to.to_string(), hashnames })
    }
}

fn search(meeting: &MeetReport, who: &Hashname) -> Option<SearchState> {
    let search = meeting.searches.iter().find(|s| s.who == *who)?;
    Some(SearchState {
        state: search.state.to_owned(),
        vias: search.vias.iter().map(ToString::to_string).collect(),
        left_ms: search.left.map(millis),
    })
}
