//! Numbers that look random and follow from a seed.

/// A sequence of numbers (SplitMix64, Steele et al. 2014).
#[derive(Debug)]
pub(super) struct Draw {
    state: u64,
}

impl Draw {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number from 0 on, below `bound`.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product, whose bias is below 2^-32 for the bounds used here.
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }

    /// A number from 0 to 1.
    pub(super) const fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this chance happens.
    pub(super) fn chance(&mut self, chance: f64) -> bool {
        self.share() < chance
    }

    /// How often something happens that happens `mean` times on average: mostly not at all,
    /// sometimes several times.
    pub(super) fn few(&mut self, mean: f64) -> u32 {
        if self.chance(mean / 2.0) { 1 + self.below(3) as u32 } else { 0 }
    }

    /// A number from 0 on, below `bound`; small ones are drawn more often.
    pub(super) fn squared(&mut self, bound: u64) -> u64 {
        self.below(bound) * self.below(bound) / bound.max(1)
    }
}

/// Shares that fall as one over the rank.
#[derive(Debug)]
pub(super) struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    pub(super) fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=count).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self { cumulative: cumulative.collect() }
    }

    /// A rank, from 0 on.
    pub(super) fn draw(&self, draw: &mut Draw) -> usize {
        let sum = self.cumulative.last().copied().unwrap_or(0.0);
        let at = draw.share() * sum;
        let rank = self.cumulative.partition_point(|below| *below <= at);
        rank.min(self.cumulative.len().saturating_sub(1))
    }
}
