//! Sorting of lists that are short: the library's is compiled for each type, some 8 KB, and these few hundred bytes. Lists that may
//! have thousands of entries are sorted by the library.

use std::cmp::Ordering;

/// Sorts a list; equal ones keep their order.
pub fn by<T>(list: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let order = order(list.len(), &mut |a, b| match (list.get(a), list.get(b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    });
    for (at, mut from) in order.iter().copied().enumerate() {
        // What stood there has been moved to where it was exchanged with.
        while from < at {
            from = order[from];
        }
        list.swap(at, from);
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
