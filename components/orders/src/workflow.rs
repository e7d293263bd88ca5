//! The states of an order, and the ways between them.

use utoipa::ToSchema;

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase", as = OrderStatus)]
pub(crate) enum Status {
    /// Made.
    Pending,
    /// Being packed.
    Processing,
    /// On its way.
    Shipped,
    /// With the customer.
    Delivered,
    /// Given up before it was sent; its stock goes back.
    Cancelled,
}

use Status::{Cancelled, Delivered, Pending, Processing, Shipped};

impl Status {
    /// All of them, in the order of the way.
    const ALL: [Self; 5] = [Pending, Processing, Shipped, Delivered, Cancelled];

    /// Those that an order can be brought to. It begins as pending and never comes back.
    pub(crate) const REACHABLE: [Self; 4] = [Processing, Shipped, Delivered, Cancelled];

    /// The state of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// The name, as it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pending => "pending",
            Processing => "processing",
            Shipped => "shipped",
            Delivered => "delivered",
            Cancelled => "cancelled",
        }
    }

    /// Where an order may go from here. What has left the house is not cancelled.
    pub(crate) fn allowed(self) -> &'static [Self] {
        match self {
            Pending => &[Processing, Cancelled],
            Processing => &[Shipped, Cancelled],
            Shipped => &[Delivered],
            Delivered | Cancelled => &[],
        }
    }
}

/// The names of these.
pub(crate) fn names(statuses: &[Status]) -> Vec<&'static str> {
    statuses.iter().map(|status| status.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_leads_onwards_and_the_last_two_nowhere() {
        let allowed = |name: &str| Status::named(name).map(|status| names(status.allowed()));
        assert_eq!(allowed("pending"), Some(vec!["processing", "cancelled"]));
        assert_eq!(allowed("processing"), Some(vec!["shipped", "cancelled"]));
        assert_eq!(allowed("shipped"), Some(vec!["delivered"]));
        assert_eq!(allowed("delivered"), Some(vec![]));
        assert_eq!(allowed("cancelled"), Some(vec![]));
        assert_eq!(allowed("lost"), None);
    }

    #[test]
    fn what_is_reachable_is_what_some_state_leads_to() {
        for status in Status::ALL {
            let reached = Status::ALL.iter().any(|from| from.allowed().contains(&status));
            assert_eq!(Status::REACHABLE.contains(&status), reached, "{status:?}");
        }
    }
}
