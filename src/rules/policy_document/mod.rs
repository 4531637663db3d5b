// SPDX-License-Identifier: MIT OR Apache-2.0

//! The rules that go by the policy document.

pub mod freshness;
pub mod route;
