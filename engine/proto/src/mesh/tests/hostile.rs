//! Forged, replayed, stale and flooding announcements (N11).
