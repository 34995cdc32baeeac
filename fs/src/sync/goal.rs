//! Owns what can be waited for.

use crate::meta::rows::Ticket;
use std::collections::BTreeSet;

/// Operations that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Everything up to a ticket.
    Upto(Ticket),
    /// These alone: what is stuck elsewhere does not matter. None: there is nothing to wait for.
    These(BTreeSet<Ticket>),
}

impl Goal {
    /// Everything that was queued up to here; `last` is the newest ticket, if any.
    pub fn all(last: Option<Ticket>) -> Self {
        last.map_or_else(|| Self::These(BTreeSet::new()), Self::Upto)
    }

    /// The operations, if it is not all there are.
    pub fn tickets(&self) -> Option<&BTreeSet<Ticket>> {
        match self {
            Self::Upto(_) => None,
            Self::These(tickets) => Some(tickets),
        }
    }

    /// The newest of them; `None` if there is nothing to wait for.
    pub(super) fn last(&self) -> Option<Ticket> {
        match self {
            Self::Upto(upto) => Some(*upto),
            Self::These(tickets) => tickets.last().copied(),
        }
    }

    /// Whether an operation is among them.
    pub(super) fn covers(&self, ticket: Ticket) -> bool {
        match self {
            Self::Upto(upto) => ticket <= *upto,
            Self::These(tickets) => tickets.contains(&ticket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_names_its_operations_unless_it_is_all_up_to_one() {
        let some = BTreeSet::from([Ticket(2), Ticket(4)]);
        assert_eq!(Goal::These(some.clone()).tickets(), Some(&some));
        assert_eq!(Goal::all(Some(Ticket(4))).tickets(), None);
    }
}
