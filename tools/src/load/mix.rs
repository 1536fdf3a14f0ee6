//! Mixes: values with shares, as `64:50,300:40,1200:10`.

use trunkline_proto::base::Chance;

/// Values, each with its share.
#[derive(Clone, Debug)]
pub(super) struct Mix<T> {
    /// Each value with the sum of the shares up to and with its own.
    values: Vec<(T, u64)>,
}

impl<T: Copy> Mix<T> {
    /// Reads `VALUE`, or `VALUE:SHARE,VALUE:SHARE,…`.
    ///
    /// # Errors
    /// What is wrong with it, for the user.
    pub(super) fn parse(
        text: &str,
        mut value: impl FnMut(&str) -> Result<T, String>,
    ) -> Result<Self, String> {
        let (mut values, mut sum) = (Vec::new(), 0u64);
        for entry in text.split(',') {
            let (what, share) = entry.split_once(':').unwrap_or((entry, "1"));
            let share: u32 = share.parse().map_err(|e| format!("share `{share}`: {e}"))?;
            sum += u64::from(share);
            values.push((value(what).map_err(|e| format!("`{what}`: {e}"))?, sum));
        }
        if sum == 0 { Err("all shares are 0".into()) } else { Ok(Self { values }) }
    }

    /// Whether there is one value only.
    pub(super) fn is_single(&self) -> bool {
        self.values.len() == 1
    }

    /// A value, by chance and the shares.
    pub(super) fn draw(&self, chance: &mut Chance) -> Option<T> {
        if let [(only, _)] = self.values[..] {
            return Some(only);
        }
        let (_, sum) = self.values.last()?;
        let at = chance.below(*sum);
        self.values.iter().find(|(_, upto)| at < *upto).map(|(value, _)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(text: &str) -> Result<Mix<usize>, String> {
        Mix::parse(text, |s| s.parse().map_err(|_| "no number".into()))
    }

    #[test]
    fn a_single_value_is_always_drawn() {
        let mut chance = Chance::from_number(1);
        let mix = mix("300").expect("a mix");
        assert!((0..10).all(|_| mix.draw(&mut chance) == Some(300)));
    }

    #[test]
    fn shares_are_kept() {
        let mut chance = Chance::from_number(1);
        let mix = mix("64:50,300:40,1200:10,9:0").expect("a mix");
        let mut seen = std::collections::BTreeMap::new();
        (0..10_000).for_each(|_| *seen.entry(mix.draw(&mut chance)).or_insert(0) += 1);
        assert!((4_800..5_200).contains(&seen[&Some(64)]), "{seen:?}");
        assert!((850..1_150).contains(&seen[&Some(1_200)]), "{seen:?}");
        assert!(!seen.contains_key(&Some(9)));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "x", "1:x", "1:0", "1,", "1:2:3"] {
            assert!(mix(bad).is_err(), "{bad}");
        }
    }
}
