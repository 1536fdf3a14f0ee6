//! How each contender is started, configured and driven. Each measurement starts its peer anew:
//! what an earlier one left in a heap is not what is to be measured.

pub(super) mod baseline;
pub(super) mod coturn;
pub(super) mod iroh;
pub(super) mod mosquitto;
pub(super) mod nats;
pub(super) mod ours;
mod stall;
pub(super) mod tunnel;
pub(super) mod zenoh;
