//! A process that does not outlive its owner.

use std::process::Child;

/// Ends its process, however this ends.
#[derive(Debug)]
pub struct Kept(pub Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
