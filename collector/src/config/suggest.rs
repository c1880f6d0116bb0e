//! What may have been meant by a name that is not known.

/// How alike two names must be for one to be suggested for the other; 1 is equal.
const SUGGEST_SIMILARITY_MIN: f64 = 0.7;

/// The nearest of the known names, or all of them, as the end of a message.
pub(super) fn suggest(name: &str, known: impl Iterator<Item = &'static str> + Clone) -> String {
    let nearest = known
        .clone()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .max_by(|left, right| left.0.total_cmp(&right.0));
    match nearest {
        Some((similarity, candidate)) if similarity >= SUGGEST_SIMILARITY_MIN => {
            format!("; did you mean `{candidate}`?")
        }
        _ => format!("; known: {}", known.collect::<Vec<_>>().join(", ")),
    }
}
