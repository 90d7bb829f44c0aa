//! A set of indices of a job, a bit for each up to the largest: a million calls are 125 KB.

/// Which calls. Whoever adds one has checked that the job has an input of that index, so that a wrong one takes up no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indices {
    /// The last is never 0, so that equal sets are equal.
    words: Vec<u64>,
    count: u64,
}

impl Indices {
    /// Adds one; false where it was there already.
    pub(crate) fn insert(&mut self, index: u64) -> bool {
        let (word, bit) = place(index);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += u64::from(is_new);
        is_new
    }

    pub(crate) fn contains(&self, index: u64) -> bool {
        let (word, bit) = place(index);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// The smallest that is not there.
    pub(crate) fn first_missing(&self) -> u64 {
        let full = self.words.iter().take_while(|word| **word == u64::MAX).count();
        full as u64 * 64 + self.words.get(full).map_or(0, |word| u64::from(word.trailing_ones()))
    }

    /// All of them, ascending.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.words.len() as u64 * 64).filter(|index| self.contains(*index))
    }
}

fn place(index: u64) -> (usize, u64) {
    (usize::try_from(index / 64).unwrap_or(usize::MAX), 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_is_added_once() {
        let mut indices = Indices::default();
        assert!(indices.insert(130) && indices.insert(0) && indices.insert(63) && indices.insert(64));
        assert!(!indices.insert(130) && !indices.insert(0));
        assert_eq!(indices.len(), 4);
        assert_eq!(indices.iter().collect::<Vec<_>>(), [0, 63, 64, 130]);
        assert!(!indices.contains(u64::MAX) && !indices.contains(1) && indices.contains(64));
    }

    #[test]
    fn the_first_that_is_missing_is_found() {
        let mut indices = Indices::default();
        for index in 0..130 {
            assert_eq!(indices.first_missing(), index);
            indices.insert(index);
        }
        indices.insert(131);
        assert_eq!(indices.first_missing(), 130);
    }
}
