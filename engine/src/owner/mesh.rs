//! Links, nodes and routes as their owner sees and changes them.

use trunkline_proto::base::{Address, Hashname};
use trunkline_proto::mesh::{Obstacle, Reach, Route, RouteTable};
use trunkline_proto::wire::link::Cost;

use super::{Owner, count, millis, node_report};
use crate::config::{DEFAULT_PORT, HostPort, Link, Transport};
use crate::control::mesh::{
    LinkAddAsk, LinkCloseAsk, LinkCostAsk, LinksReport, NodesReport, RouteReport, RoutesReport,
    WayReport,
};
use crate::control::protocol::{Fault, codes};
use crate::control::report::{NodeReport, StatusReport};
use crate::handle::links::LinkError;
use crate::setup::Dial;

/// Nodes listed that have no announcement: whoever announces can name as many as it likes.
const MOST_WORDLESS: usize = 1_000;
/// Nodes named in one reason.
const MOST_NAMED: usize = 5;

fn fault(error: &LinkError) -> Fault {
    let code = match error {
        LinkError::Busy => codes::BUSY,
        LinkError::Unknown(_) => codes::NO_LINK,
        _ => codes::BAD_REQUEST,
    };
    Fault::new(code, error.to_string())
}

fn bad(message: impl ToString) -> Fault {
    Fault::new(codes::BAD_REQUEST, message.to_string())
}

fn cost(number: u32) -> Result<Cost, Fault> {
    Cost::new(number).ok_or_else(|| bad("a cost is at least 1"))
}

impl Owner {
    pub(super) fn open_link(&self, hashname: Hashname, ask: &LinkAddAsk) -> Result<(), Fault> {
        let address = HostPort::parse(&ask.address, Some(DEFAULT_PORT)).map_err(bad)?;
        let addresses = address
            .resolve()
            .map_err(|e| Fault::new(codes::ADDRESS, format!("{}: {e}", ask.address)))?;
        let transport = match ask.transport.as_deref() {
            None | Some("tls") => Transport::Tls,
            Some("plain") => Transport::Plain,
            Some(other) => return Err(bad(format!("`{other}` is neither tls nor plain"))),
        };
        let cost = cost(ask.cost.unwrap_or(Link::DEFAULT_COST))?;
        let name = ask.name.clone().unwrap_or_else(|| ask.address.clone());
        let dial = Dial { name, addresses, hashname, transport, cost };
        self.handle.link_add(dial).map_err(|e| fault(&e))
    }

    pub(super) fn close_link(&self, ask: &LinkCloseAsk) -> Result<(), Fault> {
        self.handle.link_close(&ask.link).map_err(|e| fault(&e))
    }

    pub(super) fn change_cost(&self, ask: &LinkCostAsk) -> Result<(), Fault> {
        self.handle.link_cost(&ask.link, cost(ask.cost)?).map_err(|e| fault(&e))
    }

    pub(super) fn list_links(&self) -> LinksReport {
        let reports = self.handle.report().unwrap_or_default();
        let mut status = StatusReport::default();
        for report in &reports {
            self.add_links(&mut status, report);
        }
        self.add_waiting_links(&mut status, &reports);
        let adjacent = reports.iter().find_map(|r| r.adjacent.as_ref());
        for link in &mut status.links {
            let held = adjacent.into_iter().flatten().find(|a| a.link.0 == link.id);
            let Some(held) = held.filter(|_| link.state == "up") else { continue };
            link.in_use = held.in_use;
            link.held_down = held.held_down;
            link.penalty = held.penalty;
            link.up_ms = Some(millis(held.up_for));
        }
        LinksReport { links: status.links }
    }

    pub(super) fn list_nodes(&self) -> Result<NodesReport, Fault> {
        let asked = self.handle.ask_routing(|routing, now| {
            let wordless = routing.wordless(now, MOST_WORDLESS);
            (routing.nodes(now).collect::<Vec<_>>(), routing.table().clone(), wordless)
        });
        let (nodes, table, wordless) = asked.map_err(|_| busy())?;
        let mut listed: Vec<NodeReport> =
            nodes.iter().map(|n| node_report(n, Some(&table))).collect();
        listed.extend(wordless.into_iter().map(|(address, expired)| {
            let cost = table.next(&address).map(|hop| hop.cost);
            let obstacle = if expired.is_some() { "expired" } else { "no-announcement" };
            NodeReport {
                hashname: name_of(&table, &address),
                cost,
                obstacle: cost.is_none().then(|| obstacle.to_owned()),
                ..NodeReport::default()
            }
        }));
        Ok(NodesReport { nodes: listed })
    }

    pub(super) fn list_routes(&self, to: Option<Hashname>) -> Result<RoutesReport, Fault> {
        let names = self.names();
        if let Some(to) = to {
            let address = to.address();
            let asked = self.handle.ask_routing(move |routing, now| {
                (routing.explain(now, &address), routing.table().clone())
            });
            let (found, table) = asked.map_err(|_| busy())?;
            let mut report = explained(found, &table);
            report.hashname = to.to_string();
            report.name = names.get(&to).cloned();
            if to == self.handle.hashname() {
                report.obstacle = None;
                report.why = Some("it is this node".to_owned());
            }
            return Ok(RoutesReport { routes: vec![report] });
        }
        let table = self.routes().ok_or_else(busy)?;
        let route = |(hashname, reach): (Hashname, Reach)| {
            let (hop, obstacle) = match reach {
                Reach::Through(hop) => (Some(hop), None),
                Reach::Here => (None, None),
                Reach::Apart => (None, Some("apart")),
                Reach::Unlinked => (None, Some("one-sided")),
            };
            let path = table.path(&hashname.address()).unwrap_or_default();
            RouteReport {
                hashname: hashname.to_string(),
                name: names.get(&hashname).cloned(),
                cost: hop.map(|h| h.cost),
                path: path.iter().map(|a| name_of(&table, a)).collect(),
                link: hop.map(|h| h.link.0),
                obstacle: obstacle.map(str::to_owned),
                ..RouteReport::default()
            }
        };
        let others = table.nodes().filter(|(_, reach)| *reach != Reach::Here);
        Ok(RoutesReport { routes: others.map(route).collect() })
    }
}

fn busy() -> Fault {
    Fault::new(codes::BUSY, "this node is busy or stopping; try again")
}

/// A node's hashname in hex, or its address if nothing more is known.
fn name_of(table: &RouteTable, address: &Address) -> String {
    match table.hashname(address) {
        Some(hashname) => hashname.to_string(),
        None => format!("{address:?}"),
    }
}

fn explained(found: Result<Route, Obstacle>, table: &RouteTable) -> RouteReport {
    match found {
        Ok(route) => RouteReport {
            cost: Some(route.hop.cost),
            path: route.path.iter().map(|a| name_of(table, a)).collect(),
            link: Some(route.hop.link.0),
            why: Some(why_this(&route)),
            ways: route
                .ways
                .iter()
                .map(|w| WayReport {
                    link: w.link.0,
                    neighbour: w.neighbour.to_string(),
                    cost: w.cost,
                    in_use: w.in_use,
                })
                .collect(),
            ..RouteReport::default()
        },
        Err(obstacle) => RouteReport {
            obstacle: Some(obstacle.label().to_owned()),
            why: Some(why_not(&obstacle, table)),
            ..RouteReport::default()
        },
    }
}

fn why_this(route: &Route) -> String {
    let others = route.ways.iter().filter(|w| !w.in_use);
    match others.map(|w| w.cost).min() {
        None => "it is the only way".to_owned(),
        Some(next) if next > route.hop.cost => {
            format!("it is the cheapest; the next one costs {} more", next - route.hop.cost)
        }
        Some(_) => "others cost as much: fewer hops decide, then the lower address of the first \
                    node, then the lower number of the link"
            .to_owned(),
    }
}

fn why_not(obstacle: &Obstacle, table: &RouteTable) -> String {
    let list = |all: &[Address]| {
        let short = |a: &Address| name_of(table, a).chars().take(8).collect::<String>();
        let named: Vec<String> = all.iter().take(MOST_NAMED).map(short).collect();
        let more = all.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", named.join(", "))
    };
    match obstacle {
        Obstacle::Unknown => "no node in reach speaks of it: is it running, in this space, with a \
                              link to any of them?"
            .to_owned(),
        Obstacle::Expired { ago } => format!(
            "its last announcement ended {} s ago and no other came: it is down, or all its links \
             are",
            ago.as_secs()
        ),
        Obstacle::Silent { named_by } => format!(
            "there is no announcement of its own; links to it are announced by {}",
            list(named_by)
        ),
        Obstacle::OneSided { by_it, by_others } if by_it.is_empty() && by_others.is_empty() => {
            "it announces no link, and nobody one to it".to_owned()
        }
        Obstacle::OneSided { by_it, by_others } => {
            let mut out = "a link counts when both ends announce it".to_owned();
            if !by_it.is_empty() {
                out += &format!("; only its own end announces those to {}", list(by_it));
            }
            if !by_others.is_empty() {
                out += &format!("; only the other end announces those to {}", list(by_others));
            }
            out
        }
        Obstacle::Apart { together } => format!(
            "{} hang together there, and none of them is linked to a node in reach",
            if *together == 1 {
                "it alone".to_owned()
            } else {
                format!("{} nodes", count(*together))
            }
        ),
    }
}
