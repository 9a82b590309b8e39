//! Names of nodes, and the last word of each, held once for all routers of a process.
//!
//! A daemon has one router. A simulation has thousands that all know the same nodes: the names and what the nodes say of
//! themselves are the same objects in all of them, so that a router holds little more than one pointer for each node.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use worknode_protocol::mesh::name_hash;

/// Number of a name. Used again when no router has the name any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Symbol(u32);

impl Symbol {
    pub(super) fn position(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The name of a node.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) text: Arc<str>,
    pub(super) hash: u64,
    pub(super) symbol: Symbol,
}

/// What a node said of itself last.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    pub(super) update_id: Box<str>,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    /// Costs of its links, ordered by neighbour.
    pub(super) costs: Costs,
    /// Longest message that its links carry; 0: it is no worknode.
    pub(super) max_message: u32,
}

impl Word {
    /// Whether the node says that it is linked with `neighbour`.
    pub(super) fn lists(&self, neighbour: Symbol) -> bool {
        self.costs.binary_search_by_key(&neighbour, |(symbol, _)| *symbol).is_ok()
    }
}

/// Costs of links, ordered by neighbour.
pub(super) type Costs = Box<[(Symbol, f64)]>;

/// All names at one moment.
#[derive(Debug, Default)]
pub(super) struct Directory {
    names: Box<[Option<Arc<Name>>]>,
    by_hash: Box<[(u64, Symbol)]>,
}

impl Directory {
    fn name(&self, symbol: Symbol) -> Option<&Name> {
        self.names.get(symbol.position())?.as_deref()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.names.iter().flatten().map(|name| &**name)
    }

    /// One more than the highest position in use.
    pub(super) fn positions(&self) -> usize {
        self.names.len()
    }

    /// The names that have this hash: one, unless somebody has looked for another one for a long time.
    pub(super) fn with_hash(&self, hash: u64) -> impl Iterator<Item = &Name> {
        let first = self.by_hash.partition_point(|(other, _)| *other < hash);
        let rest = self.by_hash.get(first..).unwrap_or_default();
        rest.iter().take_while(move |(other, _)| *other == hash).filter_map(|(_, symbol)| self.name(*symbol))
    }
}

/// The names that routers share. The lock is held for single look-ups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    places: Vec<Option<Place>>,
    by_text: HashMap<Arc<str>, Symbol>,
    free: Vec<Symbol>,
    /// As last asked for, if nothing has changed since.
    directory: Option<Arc<Directory>>,
}

#[derive(Debug)]
struct Place {
    name: Arc<Name>,
    /// How many routers have the name.
    users: u32,
    /// What was said last, so that routers that hear it one after the other hold one object.
    word: Option<Arc<Word>>,
}

impl Names {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, text: &str) -> Option<Symbol> {
        self.held().by_text.get(text).copied()
    }

    /// The name for one more router, until it is [given back](Self::release).
    pub(super) fn take(&self, text: &str) -> Arc<Name> {
        let mut held = self.held();
        let symbol = held.by_text.get(text).copied().unwrap_or_else(|| held.add(text));
        match held.places.get_mut(symbol.position()) {
            Some(Some(place)) => {
                place.users += 1;
                place.name.clone()
            }
            // Not so: a symbol that is found has its place.
            _ => Arc::new(Name { text: text.into(), hash: name_hash(text), symbol }),
        }
    }

    pub(super) fn release(&self, name: &Name) {
        let mut held = self.held();
        let Some(place) = held.places.get_mut(name.symbol.position()) else { return };
        let Some(found) = place.as_mut() else { return };
        found.users -= 1;
        if found.users == 0 {
            *place = None;
            held.by_text.remove(&name.text);
            held.free.push(name.symbol);
            held.directory = None;
        }
    }

    pub(super) fn name(&self, symbol: Symbol) -> Option<Arc<Name>> {
        self.held().places.get(symbol.position())?.as_ref().map(|place| place.name.clone())
    }

    /// Costs with the symbols of their neighbours; `None` if not all are known.
    pub(super) fn costs(&self, of: &BTreeMap<String, f64>) -> Option<Costs> {
        let held = self.held();
        let known = of.iter().map(|(name, cost)| Some((*held.by_text.get(name.as_str())?, *cost)));
        let mut costs: Costs = known.collect::<Option<_>>()?;
        costs.sort_unstable_by_key(|(symbol, _)| *symbol);
        Some(costs)
    }

    /// `word` of the node `of`, or an equal one that another router holds.
    pub(super) fn share(&self, of: Symbol, word: Word) -> Arc<Word> {
        let mut held = self.held();
        let Some(Some(place)) = held.places.get_mut(of.position()) else { return Arc::new(word) };
        match &place.word {
            Some(last) if **last == word => last.clone(),
            // An older one is on its way still, while many have the newer already.
            Some(last) if (last.epoch, last.sequence) > (word.epoch, word.sequence) => Arc::new(word),
            _ => place.word.insert(Arc::new(word)).clone(),
        }
    }

    /// All names as they are now.
    pub(super) fn directory(&self) -> Arc<Directory> {
        let mut held = self.held();
        if let Some(directory) = &held.directory {
            return directory.clone();
        }
        let names: Box<[_]> = held.places.iter().map(|place| place.as_ref().map(|place| place.name.clone())).collect();
        let mut by_hash: Box<[_]> = names.iter().flatten().map(|name| (name.hash, name.symbol)).collect();
        by_hash.sort_unstable();
        held.directory.insert(Arc::new(Directory { names, by_hash })).clone()
    }
}

impl Held {
    fn add(&mut self, text: &str) -> Symbol {
        let free = self.free.pop();
        let symbol = free.unwrap_or_else(|| Symbol(u32::try_from(self.places.len()).unwrap_or(u32::MAX)));
        let name = Arc::new(Name { text: text.into(), hash: name_hash(text), symbol });
        self.by_text.insert(name.text.clone(), symbol);
        let place = Some(Place { name, users: 0, word: None });
        match self.places.get_mut(symbol.position()) {
            Some(found) => *found = place,
            None => self.places.push(place),
        }
        self.directory = None;
        symbol
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(sequence: u64, costs: Costs) -> Word {
        Word { update_id: "abc".into(), epoch: 1, sequence, costs, max_message: 0 }
    }

    #[test]
    fn a_name_lives_as_long_as_a_router_has_it() {
        let names = Names::default();
        let (one, other) = (names.take("a"), names.take("a"));
        assert!(Arc::ptr_eq(&one, &other));
        names.release(&one);
        assert_eq!(names.find("a"), Some(one.symbol));
        names.release(&other);
        assert_eq!((names.find("a"), names.name(one.symbol).is_none()), (None, true));
        assert_eq!(names.take("b").symbol, one.symbol, "a place is used again");
    }

    #[test]
    fn equal_words_are_one_object() {
        let names = Names::default();
        let a = names.take("a").symbol;
        let costs = names.costs(&BTreeMap::from([("a".to_owned(), 1.0)])).unwrap();
        let first = names.share(a, word(1, costs.clone()));
        assert!(Arc::ptr_eq(&first, &names.share(a, word(1, costs.clone()))));
        let second = names.share(a, word(2, costs.clone()));
        assert!(!Arc::ptr_eq(&first, &second));
        names.share(a, word(1, costs.clone()));
        assert!(Arc::ptr_eq(&second, &names.share(a, word(2, costs))), "the newest is the one that is shared");
        assert_eq!(names.costs(&BTreeMap::from([("b".to_owned(), 1.0)])), None);
    }

    #[test]
    fn the_directory_is_made_anew_when_names_come_or_go() {
        let names = Names::default();
        let a = names.take("a");
        let directory = names.directory();
        assert!(Arc::ptr_eq(&directory, &names.directory()));
        assert_eq!(directory.with_hash(a.hash).map(|name| &*name.text).collect::<Vec<_>>(), ["a"]);
        let b = names.take("b");
        assert_eq!(names.directory().with_hash(b.hash).count(), 1);
        names.release(&b);
        assert_eq!(names.directory().with_hash(b.hash).count(), 0);
    }
}
