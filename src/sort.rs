//! Sorting of lists that are short: the library's is compiled for each type, some 8 KB, and these few hundred bytes. Lists that may
//! have thousands of entries are sorted by the library.

use std::cmp::Ordering;

/// Sorts a list; equal ones keep their order.
pub fn by<T>(list: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let mut order = order(list.len(), &mut |a, b| match (list.get(a), list.get(b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    });
    // Circle by circle of places that change with each other; a place that is done names itself.
    for start in 0..order.len() {
        let mut at = start;
        loop {
            let from = std::mem::replace(&mut order[at], at);
            if from == start {
                break;
            }
            list.swap(at, from);
            at = from;
        }
    }
}

/// The same by a key.
pub fn by_key<T, K: Ord>(list: &mut [T], mut key: impl FnMut(&T) -> K) {
    by(list, |a, b| key(a).cmp(&key(b)));
}

/// The places of a list in their order.
fn order(length: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..length).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One circle through all places: each entry is moved once, however many there are.
    #[test]
    fn many_are_sorted_too() {
        let mut list: Vec<u32> = (0..200_000).map(|number| (number + 1) % 200_000).collect();
        by_key(&mut list, |number| *number);
        assert!(list.is_sorted());
    }

    proptest::proptest! {
        #[test]
        fn sorts_as_the_library_does(numbered in proptest::collection::vec(0_u8..8, 0..60)) {
            let mut own: Vec<(u8, usize)> = numbered.into_iter().zip(0..).collect();
            let mut librarys = own.clone();
            librarys.sort_by_key(|it| std::cmp::Reverse(it.0));
            by(&mut own, |a, b| b.0.cmp(&a.0));
            proptest::prop_assert_eq!(&own, &librarys);
            librarys.sort_by_key(|it| it.0);
            by_key(&mut own, |it| it.0);
            proptest::prop_assert_eq!(own, librarys);
        }
    }
}
