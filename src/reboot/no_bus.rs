// SPDX-License-Identifier: MIT OR Apache-2.0

//! What stands in for the system bus in a flipside that was built without D-Bus: there is none.

use std::convert::Infallible;

use jiff::Timestamp;

use super::RebootError;
use super::sessions::Session;
use flipside_core::host::Root;

pub struct Bus(Infallible);
pub struct Logind<'a>(pub &'a Bus);
pub struct Timer<'a>(&'a Bus);

impl Bus {
    pub fn of(_: &Root) -> Result<Self, String> {
        Err("this flipside was built without D-Bus".to_owned())
    }
}

impl Logind<'_> {
    pub fn check_inhibitors(&self) -> Result<(), RebootError> {
        match self.0.0 {}
    }

    pub fn other_sessions(&self) -> Result<Vec<Session>, RebootError> {
        match self.0.0 {}
    }

    pub fn scheduled(&self) -> Result<Option<(String, Timestamp)>, RebootError> {
        match self.0.0 {}
    }

    pub fn cancel_own(&self) -> Result<(), RebootError> {
        match self.0.0 {}
    }

    pub fn reboot(&self, _: bool, _: &str) -> Result<(), RebootError> {
        match self.0.0 {}
    }

    pub fn schedule(&self, _: Timestamp, _: bool, _: &str) -> Result<(), RebootError> {
        match self.0.0 {}
    }
}

impl<'a> Timer<'a> {
    pub fn of_reboot(bus: &'a Bus) -> Self {
        Self(bus)
    }

    pub fn of_update(bus: &'a Bus) -> Self {
        Self(bus)
    }

    pub fn of_retry(bus: &'a Bus) -> Self {
        Self(bus)
    }

    pub fn set(&self, _: Timestamp) -> Result<(), RebootError> {
        match self.0.0 {}
    }

    pub fn remove(&self) -> Result<(), RebootError> {
        match self.0.0 {}
    }
}
