//! How deep the folders of a call are. No I/O.
//!
//! Of every folder the one around it is known, and how many levels there are below it at most. That most never becomes less while
//! the folder exists: finding out by how much would mean to look at all that is in it. So a folder that once was deep may be
//! refused a place where it would fit by now, and none is ever too deep.

use std::collections::HashMap;

use super::accounts::Inode;

#[derive(Debug)]
pub(super) struct Directories {
    depth_max: u32,
    known: HashMap<Inode, Directory>,
}

#[derive(Debug)]
struct Directory {
    /// None for the call's directory itself.
    parent: Option<Inode>,
    /// Levels below it, at most. It is above that of every folder in it.
    height: u32,
}

impl Directories {
    pub(super) fn new(depth_max: u32) -> Self {
        Self { depth_max, known: HashMap::new() }
    }

    pub(super) fn add_root(&mut self, inode: Inode) {
        self.known.entry(inode).or_insert(Directory { parent: None, height: 0 });
    }

    /// Whether a new folder may be made in this one.
    pub(super) fn may_add(&self, parent: Inode) -> bool {
        self.fits(parent, 0)
    }

    pub(super) fn add(&mut self, inode: Inode, parent: Inode) {
        self.known.insert(inode, Directory { parent: Some(parent), height: 0 });
        self.raise(parent, 1);
    }

    /// Whether a folder may move into another, with all that is in it.
    pub(super) fn may_move(&self, inode: Inode, parent: Inode) -> bool {
        self.known.get(&inode).is_some_and(|directory| self.fits(parent, directory.height))
    }

    pub(super) fn move_to(&mut self, inode: Inode, parent: Inode) {
        if let Some(directory) = self.known.get_mut(&inode) {
            directory.parent = Some(parent);
            let height = directory.height + 1;
            self.raise(parent, height);
        }
    }

    /// An empty folder is gone.
    pub(super) fn remove(&mut self, inode: Inode) {
        self.known.remove(&inode);
    }

    /// Whether a folder with so many levels below it may be in this one. Nothing may be in one that was removed while it was
    /// open, and is not known any more.
    fn fits(&self, parent: Inode, height: u32) -> bool {
        self.depth(parent).is_some_and(|depth| depth + 1 + height <= self.depth_max)
    }

    /// Levels above a folder.
    fn depth(&self, inode: Inode) -> Option<u32> {
        let mut directory = self.known.get(&inode)?;
        let mut depth = 0;
        while let Some(parent) = directory.parent {
            directory = self.known.get(&parent)?;
            depth += 1;
        }
        Some(depth)
    }

    /// Notes that there are so many levels below a folder, if that is more than was known.
    fn raise(&mut self, mut inode: Inode, mut height: u32) {
        while let Some(directory) = self.known.get_mut(&inode)
            && directory.height < height
        {
            directory.height = height;
            let Some(parent) = directory.parent else { return };
            inode = parent;
            height += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const ROOT: Inode = 0;
    const DEPTH_MAX: u32 = 5;

    /// Folders and what they are in, as a test knows them.
    #[derive(Debug, Default)]
    struct Tree(BTreeMap<Inode, Inode>);

    impl Tree {
        fn above(&self, inode: Inode) -> Vec<Inode> {
            std::iter::successors(self.0.get(&inode).copied(), |inode| self.0.get(inode).copied()).collect()
        }

        fn height(&self, inode: Inode) -> u32 {
            let distances = self.0.keys().filter_map(|below| self.above(*below).iter().position(|above| *above == inode));
            distances.max().map_or(0, |distance| distance as u32 + 1)
        }

        fn is_empty(&self, inode: Inode) -> bool {
            self.0.values().all(|parent| *parent != inode)
        }

        /// One of the folders, or the root.
        fn any(&self, number: usize) -> Inode {
            self.0.keys().copied().chain([ROOT]).nth(number % (self.0.len() + 1)).unwrap()
        }
    }

    proptest! {
        #[test]
        fn no_folder_is_ever_too_deep(acts in prop::collection::vec((0..4u8, 0..100usize, 0..100usize), 0..80)) {
            let mut directories = Directories::new(DEPTH_MAX);
            directories.add_root(ROOT);
            let mut tree = Tree::default();
            for (next, (act, one, other)) in acts.into_iter().enumerate() {
                let (one, other) = (tree.any(one), tree.any(other));
                match act {
                    0 | 1 => {
                        let fits = tree.above(one).len() < DEPTH_MAX as usize;
                        prop_assert_eq!(directories.may_add(one), fits);
                        if fits {
                            let made = next as Inode + 1;
                            directories.add(made, one);
                            tree.0.insert(made, one);
                        }
                    }
                    // The kernel moves no folder into itself.
                    2 if one != ROOT
                        && one != other
                        && !tree.above(other).contains(&one)
                        && directories.may_move(one, other) =>
                    {
                        directories.move_to(one, other);
                        tree.0.insert(one, other);
                    }
                    3 if one != ROOT && tree.is_empty(one) => {
                        directories.remove(one);
                        tree.0.remove(&one);
                    }
                    _ => {}
                }
                for inode in tree.0.keys() {
                    prop_assert!(tree.above(*inode).len() <= DEPTH_MAX as usize);
                    prop_assert!(directories.known[inode].height >= tree.height(*inode));
                }
                prop_assert_eq!(directories.known.len(), tree.0.len() + 1);
            }
        }
    }

    #[test]
    fn a_folder_moves_where_it_fits_with_all_that_is_in_it() {
        let mut directories = Directories::new(4);
        directories.add_root(ROOT);
        for (inode, parent) in [(1, ROOT), (2, 1), (3, 2), (10, ROOT), (11, 10)] {
            directories.add(inode, parent);
        }
        assert!(directories.may_move(1, 10));
        assert!(!directories.may_move(1, 11));
        assert!(directories.may_move(2, 11));
        directories.move_to(2, 11);
        assert!(!directories.may_add(3));
    }
}
