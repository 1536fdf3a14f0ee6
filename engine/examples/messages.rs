//! Two nodes and their messages: a shop that takes orders and answers questions about prices.
//!
//! ```sh
//! cargo run --example messages
//! ```
//!
//! Both nodes run in this process, linked over loopback. What the shop does not take comes back,
//! and the customer hears why and from whom.

use std::time::Duration;

use trunkline::{Engine, Namespace, Outbound, RecordId};

/// Long enough for two nodes to find each other.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (orders, prices): (Namespace, Namespace) = ("shop.orders".parse()?, "shop.prices".parse()?);
    let shop = Engine::builder()
        .space("market")
        .listen("127.0.0.1:0")
        .on_message(prices, |question| {
            let price = match &question.record()[..] {
                b"bread" => "3.20",
                _ => "sold out",
            };
            // It is lost only if this node has more to do than it may.
            let _ = question.reply(price);
        })
        .start()?;
    let (address, name) = (shop.link_addresses()[0].to_string(), shop.handle().hashname());
    let (tell, told) = std::sync::mpsc::channel();
    let customer = Engine::builder()
        .space("market")
        .link(address, name)
        .on_return(move |back| {
            let _ = tell.send(back);
        })
        .start()?;
    let node = customer.handle();
    if !node.wait_reachable(&name, PATIENCE) {
        return Err("the shop is not there".into());
    }

    let question = Outbound::to(prices, RecordId::text("price")?);
    let price = node.request(name, &question, "bread", PATIENCE)?;
    println!("bread costs {}", String::from_utf8_lossy(&price.record()));

    // Nobody takes orders yet: what is sent now comes back.
    let order = Outbound::to(orders, 7.into());
    let id = node.notify(name, &order, "two loaves")?;
    let back = told.recv_timeout(PATIENCE)?;
    println!(
        "order {} came back: {} (said by the shop: {})",
        id,
        back.code.label(),
        back.by == Some(name.address())
    );

    let desk = shop.handle().subscribe(orders, None)?;
    node.deliver(name, &order, "two loaves", PATIENCE)?;
    let taken = desk.next(PATIENCE).ok_or("no order")?;
    println!("the shop takes an order: {}", String::from_utf8_lossy(&taken.record()));
    Ok(())
}
