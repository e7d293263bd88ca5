//! What a subscription consists of, one after the other.

use std::sync::Arc;

use super::event::{Cursor, Event};
use super::line::Item;

/// Events that are gone: those after one place, up to and with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last event before it.
    pub after: Cursor,
    /// The last event of it: what comes next comes after this one.
    pub resume_from: Cursor,
}

/// Why the host ends a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its client takes events more slowly than they come.
    Slow,
    /// The access token that it was opened with has expired.
    Expired,
    /// The host stops.
    GoingAway,
    /// The client does not answer to pings.
    Silent,
    /// The client sends what nobody asked for.
    Unexpected,
}

/// What comes next.
#[derive(Debug, Clone)]
pub enum Step {
    /// Everything before this place has been told; what is told from here on is told as it
    /// happens.
    Ready(Cursor),
    /// An event.
    Event(Arc<Event>),
    /// Events that cannot be told any more.
    Gap(Gap),
    /// Nothing more.
    End(End),
}

impl End {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Slow, Self::Expired, Self::GoingAway, Self::Silent, Self::Unexpected];

    /// In a word or two.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Expired => "expired",
            Self::GoingAway => "going-away",
            Self::Silent => "silent",
            Self::Unexpected => "unexpected",
        }
    }

    /// The code of a WebSocket's close (RFC 6455, section 7.4, and the registry of IANA); of
    /// those for private use, 4401 stands beside HTTP's 401.
    pub fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Unexpected => 1003,
            Self::Silent => 1008,
            Self::Slow => 1013,
            Self::Expired => 4401,
        }
    }
}

impl From<Item> for Step {
    fn from(item: Item) -> Self {
        match item {
            Item::Event(event) => Self::Event(event),
            Item::Gap(gap) => Self::Gap(gap),
        }
    }
}
