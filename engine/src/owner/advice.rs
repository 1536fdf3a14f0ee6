//! What an owner can do about a line that is not there, or not direct, in words.
//!
//! Each sentence follows from what the node knows and names what to look at. Who is at an address
//! cannot be told from outside, so that a wrong hashname and a node that is down look alike here.

use trunkline_proto::base::Hashname;

use crate::control::finding::WhyReport;
use crate::runtime::letters::Report;

/// Somebody through whom others are found.
struct Introducer {
    who: Hashname,
    /// No line; or one, and whether that one meshes.
    lined: Option<bool>,
    addresses: Vec<String>,
}

/// What to do about the way to somebody.
pub(super) fn advice(why: &WhyReport, reports: &[Report]) -> Vec<String> {
    let meeting = reports.iter().find_map(|r| r.meeting.as_ref());
    let addresses = |who: Hashname| {
        let contact = reports.iter().flat_map(|r| &r.contacts).find(|c| c.hashname == who);
        let all = contact.into_iter().flat_map(|c| &c.addresses);
        all.map(ToString::to_string).collect()
    };
    let introducers: Vec<Introducer> = meeting
        .into_iter()
        .flat_map(|m| &m.introducers)
        .map(|(who, lined)| Introducer { who: *who, lined: *lined, addresses: addresses(*who) })
        .collect();
    words(why, &introducers)
}

fn words(why: &WhyReport, introducers: &[Introducer]) -> Vec<String> {
    if why.way.starts_with("direct") {
        return Vec::new();
    }
    let mut out: Vec<String> = introducers.iter().filter_map(complaint).collect();
    if why.way.starts_with("bridge") {
        out.extend(past_the_relay(why));
        return out;
    }
    if !why.way.is_empty() {
        return out;
    }
    let asked = introducers.iter().any(|i| i.lined == Some(true));
    let own = introducers.iter().any(|i| i.who.to_string() == why.hashname);
    if own {
        return out;
    }
    let refused = why.bridges.iter().find(|b| !matches!(b.state.as_str(), "asked" | "carries"));
    if let Some(bridge) = refused {
        let relay = bridge.relay.get(..8).unwrap_or_default();
        out.push(format!(
            "no direct path answers, and {relay} does not carry ({}): where one of the two has no \
             UDP, both need a [[link]] to a relay",
            bridge.state
        ));
    } else if introducers.is_empty() && why.addresses.is_empty() && why.search.is_none() {
        out.push(
            "nobody can be asked for it: add a [[peer]] with introducer = true, or one for it with \
             its addresses"
                .to_owned(),
        );
    } else if !why.addresses.is_empty() && why.search.as_ref().is_none_or(|s| s.vias.is_empty()) {
        out.push(format!(
            "nothing answered at {}: is it running there, is its hashname right, does UDP get \
             there and back",
            why.addresses.join(", ")
        ));
    } else if asked && why.search.as_ref().is_some_and(|s| s.vias.is_empty()) {
        out.push(
            "the introducers answer and have no line to it: is it running, with one of them as a \
             [[peer]] with introducer = true"
                .to_owned(),
        );
    }
    out
}

/// What is wrong with an introducer.
fn complaint(introducer: &Introducer) -> Option<String> {
    let Introducer { who, lined, addresses } = introducer;
    let short = who.short();
    match lined {
        Some(true) => None,
        Some(false) => Some(format!(
            "introducer {short} does not mesh: set spacer = true in [mesh] of its configuration"
        )),
        None if addresses.is_empty() => Some(format!(
            "introducer {short} is nowhere: give its [[peer]] the addresses it listens at"
        )),
        None => Some(format!(
            "introducer {short} does not answer at {}: is it running there, is its hashname right, \
             does UDP get there and back",
            addresses.join(", ")
        )),
    }
}

/// Why packets go over a relay, as far as it can be told.
fn past_the_relay(why: &WhyReport) -> Option<String> {
    let waiting = why.paths.iter().any(|p| p.path.starts_with("direct") && p.result == "waiting");
    if waiting {
        return None;
    }
    Some(match why.nat.as_str() {
        "symmetric" => "this node's NAT gives each peer another port: a direct path needs a peer \
                        without a NAT or with an address-restricted one, or a UDP port of this \
                        node forwarded"
            .to_owned(),
        "unknown" => "packets go over a relay, as no direct path answers: one of the two NATs is \
                      symmetric, or UDP between them is blocked; a second introducer would show \
                      what kind this node's NAT is"
            .to_owned(),
        _ => "packets go over a relay, as no direct path answers: the peer's NAT may be \
              symmetric, or UDP between the two is blocked"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::finding::SearchState;

    fn introducer(lined: Option<bool>) -> Introducer {
        let addresses = vec!["192.0.2.1:42424".to_owned()];
        Introducer { who: Hashname::new([7; 32]), lined, addresses }
    }

    fn sought(vias: &[&str]) -> WhyReport {
        let vias = vias.iter().map(ToString::to_string).collect();
        let search = SearchState { vias, ..SearchState::default() };
        WhyReport { search: Some(search), ..WhyReport::default() }
    }

    #[test]
    fn s22_each_failing_case_says_what_to_look_at() {
        let bridged = |nat: &str| WhyReport {
            way: "bridge at 192.0.2.1:42424".to_owned(),
            nat: nat.to_owned(),
            ..WhyReport::default()
        };
        let cases = [
            (WhyReport::default(), vec![], "nobody can be asked"),
            (sought(&[]), vec![introducer(None)], "does not answer at 192.0.2.1:42424"),
            (sought(&[]), vec![introducer(Some(false))], "spacer = true"),
            (sought(&[]), vec![introducer(Some(true))], "have no line to it"),
            (bridged("symmetric"), vec![introducer(Some(true))], "another port"),
            (bridged("unknown"), vec![introducer(Some(true))], "a second introducer"),
            (bridged("cone"), vec![introducer(Some(true))], "the peer's NAT"),
        ];
        for (why, introducers, expected) in cases {
            let said = words(&why, &introducers);
            assert!(said.len() == 1 && said[0].contains(expected), "{expected}: {said:?}");
        }
    }

    #[test]
    fn s22_what_is_direct_needs_no_advice() {
        let why = WhyReport { way: "direct 192.0.2.1:1".to_owned(), ..WhyReport::default() };
        assert!(words(&why, &[introducer(None)]).is_empty());
    }
}
