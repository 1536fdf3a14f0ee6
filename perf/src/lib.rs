//! What the programs of this package share: processes that end with their owner, and what they
//! have used.

mod kept;
mod processes;

pub use kept::Kept;
pub use processes::{Usage, used};
