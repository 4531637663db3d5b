// SPDX-License-Identifier: MIT OR Apache-2.0

//! `BootOrder` and the numbers in it (UEFI 2.10, section 3.1.1 and 3.3), and the moves that
//! flipside makes in it.
//!
//! Numbers of others keep their order, also those without an entry: firmware keeps hidden entries of
//! its own, and an order without them has locked people out of the setup (FIELD: efibootmgr#170).

use std::fmt;

use serde::{Serialize, Serializer};

/// The number of a boot entry; `Boot001A` in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootNumber(pub u16);

impl BootNumber {
    /// The name of the entry's variable: `Boot` and four upper-case hex digits.
    pub fn variable(self) -> String {
        self.to_string()
    }

    /// The number in a variable's name; `None` for every other name, also one with lower-case
    /// digits, which firmware does not look for.
    pub fn from_variable(name: &str) -> Option<Self> {
        let number = Self::from_any_case(name)?;
        (number.variable() == name).then_some(number)
    }

    /// The same, with digits of either case.
    pub fn from_any_case(name: &str) -> Option<Self> {
        let digits = name.strip_prefix("Boot")?;
        let are_digits = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        are_digits.then(|| u16::from_str_radix(digits, 16).ok().map(Self)).flatten()
    }

    /// The number in `BootNext` or `BootCurrent`; `None` where the length is wrong, which the
    /// firmware takes as absent too.
    pub fn from_data(data: &[u8]) -> Option<Self> {
        data.try_into().ok().map(|bytes| Self(u16::from_le_bytes(bytes)))
    }

    /// As `BootNext` has it.
    pub fn to_data(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }
}

impl fmt::Display for BootNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Boot{:04X}", self.0)
    }
}

impl Serialize for BootNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The order in which the firmware tries boot entries, each number once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootOrder(Vec<BootNumber>);

impl BootOrder {
    /// Reads the variable: numbers that come again and an odd last byte are left out.
    pub fn parse(data: &[u8]) -> Self {
        let mut order = Self::default();
        for number in data.chunks_exact(2).filter_map(BootNumber::from_data) {
            order.push(number);
        }
        order
    }

    /// As the variable has it.
    pub fn to_data(&self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_data()).collect()
    }

    /// The numbers, first to last.
    pub fn numbers(&self) -> &[BootNumber] {
        &self.0
    }

    /// Whether the order lists `number`.
    pub fn contains(&self, number: BootNumber) -> bool {
        self.0.contains(&number)
    }

    /// Where `number` stands, from 0.
    pub fn position(&self, number: BootNumber) -> Option<usize> {
        self.0.iter().position(|n| *n == number)
    }

    fn push(&mut self, number: BootNumber) {
        if !self.contains(number) {
            self.0.push(number);
        }
    }

    fn insert(&mut self, at: usize, number: BootNumber) {
        self.0.insert(at.min(self.0.len()), number);
    }

    /// Without these numbers.
    #[must_use]
    pub fn without(mut self, numbers: &[BootNumber]) -> Self {
        self.0.retain(|number| !numbers.contains(number));
        self
    }

    /// With `number` before each of `followers`: where it does not stand there already, it takes
    /// the place right before the first of them; the end, where none of them is listed.
    #[must_use]
    pub fn with_before(mut self, number: BootNumber, followers: &[BootNumber]) -> Self {
        let first = self.0.iter().position(|n| *n != number && followers.contains(n));
        match (self.position(number), first) {
            (Some(_), None) => {}
            (Some(place), Some(first)) if place < first => {}
            (None, None) => self.push(number),
            // It stands behind `first` or nowhere: taking it out does not move `first`.
            (_, Some(first)) => {
                self.0.retain(|n| *n != number);
                self.insert(first, number);
            }
        }
        self
    }

    /// With `number` somewhere behind `leader`: where it does not stand there already, right
    /// behind it.
    #[must_use]
    pub fn with_behind(mut self, number: BootNumber, leader: BootNumber) -> Self {
        if let (Some(place), Some(leader)) = (self.position(number), self.position(leader))
            && place > leader
        {
            return self;
        }
        self.0.retain(|n| *n != number);
        let place = self.position(leader).map_or(self.0.len(), |place| place.saturating_add(1));
        self.insert(place, number);
        self
    }

    /// With `number` behind all others.
    #[must_use]
    pub fn with_last(mut self, number: BootNumber) -> Self {
        self.0.retain(|n| *n != number);
        self.0.push(number);
        self
    }

    /// With `front` and then `back` in the place of the first of `group`.
    #[must_use]
    pub fn with_preferred(
        mut self,
        front: BootNumber,
        back: Option<BootNumber>,
        group: &[BootNumber],
    ) -> Self {
        let ours = |n: &BootNumber| *n == front || Some(*n) == back;
        let first = self.0.iter().position(|n| ours(n) || group.contains(n));
        self.0.retain(|n| !ours(n));
        // Nothing of the group stands before `first`, so nothing before it was taken out.
        let place = first.unwrap_or(self.0.len());
        self.insert(place, front);
        if let Some(back) = back {
            self.insert(place.saturating_add(1), back);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(numbers: &[u16]) -> BootOrder {
        BootOrder(numbers.iter().copied().map(BootNumber).collect())
    }

    fn n(numbers: &[u16]) -> Vec<BootNumber> {
        numbers.iter().copied().map(BootNumber).collect()
    }

    #[test]
    fn hostile_orders_are_read() {
        for (data, expected) in [
            (&[][..], &[][..]),
            (&[1], &[]),
            (&[1, 0, 2], &[1]),
            (&[1, 0, 2, 0, 1, 0, 2, 0], &[1, 2]),
            (&[0x34, 0x12], &[0x1234]),
        ] {
            assert_eq!(BootOrder::parse(data), order(expected), "{data:?}");
        }
    }

    #[test]
    fn only_names_of_boot_entries_are_numbers() {
        for (name, number) in [
            ("Boot0000", Some(0)),
            ("Boot00AF", Some(0xaf)),
            ("Boot00af", None),
            ("Boot+0AF", None),
            ("BootNext", None),
            ("Boot00001", None),
            ("boot0001", None),
            ("Boot000é", None),
        ] {
            assert_eq!(BootNumber::from_variable(name), number.map(BootNumber), "{name}");
        }
    }

    #[test]
    fn an_entry_is_put_before_its_followers_and_no_further() {
        for (before, followers, after) in [
            (&[][..], &[][..], &[9][..]),
            (&[1, 2], &[], &[1, 2, 9]),
            (&[1, 2, 3], &[2, 3], &[1, 9, 2, 3]),
            (&[1, 2, 9, 3], &[3, 2], &[1, 9, 2, 3]),
            (&[9, 1, 2], &[2], &[9, 1, 2]),
            (&[1, 9, 2], &[], &[1, 9, 2]),
            (&[1, 9], &[7], &[1, 9]),
        ] {
            let moved = order(before).with_before(BootNumber(9), &n(followers));
            assert_eq!(moved, order(after), "{before:?} {followers:?}");
        }
    }

    #[test]
    fn an_entry_is_put_behind_its_leader_unless_it_stands_there() {
        for (before, after) in [
            (&[1, 2, 3][..], &[1, 2, 9, 3][..]),
            (&[9, 1, 2, 3], &[1, 2, 9, 3]),
            (&[1, 2, 3, 9], &[1, 2, 3, 9]),
            (&[2], &[2, 9]),
        ] {
            let moved = order(before).with_behind(BootNumber(9), BootNumber(2));
            assert_eq!(moved, order(after), "{before:?}");
        }
    }

    #[test]
    fn the_preferred_entries_take_the_first_place_of_their_group() {
        for (before, back, group, after) in [
            (&[1, 8, 2, 9, 3][..], Some(8), &[][..], &[1, 9, 8, 2, 3][..]),
            (&[1, 8, 2], Some(8), &[], &[1, 9, 8, 2]),
            (&[1, 7, 8, 9], Some(8), &[7], &[1, 9, 8, 7]),
            (&[1, 7, 8], None, &[7, 8], &[1, 9, 7, 8]),
            (&[1, 9, 8], Some(8), &[], &[1, 9, 8]),
            (&[1, 2], None, &[], &[1, 2, 9]),
            (&[], Some(8), &[], &[9, 8]),
        ] {
            let back = back.map(BootNumber);
            let moved = order(before).with_preferred(BootNumber(9), back, &n(group));
            assert_eq!(moved, order(after), "{before:?}");
        }
    }

    proptest! {
        #[test]
        fn every_move_keeps_the_others_in_their_order(
            data in prop::collection::vec(0u8..12, 0..24),
            followers in prop::collection::vec(0u16..12, 0..4),
        ) {
            let data: Vec<u8> = data.into_iter().flat_map(|b| [b, 0]).collect();
            let before = BootOrder::parse(&data);
            prop_assert_eq!(&BootOrder::parse(&before.to_data()), &before);
            let (front, back) = (BootNumber(3), BootNumber(4));
            let others = |o: &BootOrder| o.clone().without(&[front, back]);
            for after in [
                before.clone().with_before(front, &n(&followers)),
                before.clone().with_behind(back, front),
                before.clone().with_preferred(front, Some(back), &n(&followers)),
            ] {
                prop_assert_eq!(others(&after), others(&before));
                prop_assert_eq!(&BootOrder::parse(&after.to_data()), &after);
            }
            let secured = before.with_before(front, &n(&followers));
            let place = secured.position(front).unwrap();
            for follower in n(&followers).into_iter().filter(|f| *f != front) {
                prop_assert!(secured.position(follower).is_none_or(|p| p > place));
            }
        }

        #[test]
        fn any_bytes_are_an_order(data in prop::collection::vec(any::<u8>(), 0..64)) {
            BootOrder::parse(&data);
        }
    }
}
