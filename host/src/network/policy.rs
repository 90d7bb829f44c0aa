//! What the operator of a node lets jobs reach.

use std::net::{IpAddr, Ipv4Addr};

use burla_types::{AddressRange, NetworkGrant, is_public};

use super::authorities::Authorities;
use crate::machine;

/// What jobs may be granted on this node, and which private addresses are open to those that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// What a job may ask for: `allow-network`. By default everything.
    pub grantable: Vec<NetworkGrant>,
    /// Addresses that are not public, or this machine's own, and that calls may reach nevertheless, where they are granted:
    /// `allow-private`. By default none, so that no job reaches the node's own services at [`NetworkPolicy::own`] addresses, its
    /// neighbors at private ones, or a cloud's metadata. What leads back here from elsewhere, such as a router's public address
    /// that forwards to this machine, is public like any other.
    pub private: Vec<AddressRange>,
    /// Addresses of this machine, which count as private even where they are public. By default those that it had when this was
    /// made.
    pub own: Vec<IpAddr>,
    /// Who has to certify the servers that calls reach by HTTPS through the node: `ca-file`, beside those that Mozilla
    /// trusts.
    pub authorities: Authorities,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self {
            grantable: vec![NetworkGrant::EVERYTHING],
            private: vec![],
            own: machine::own_addresses(),
            authorities: Authorities::default(),
        }
    }
}

impl NetworkPolicy {
    /// Whether a job may have all that it asks for. The error names the first grant that it may not have, and the setting.
    pub fn check(&self, asked: &[NetworkGrant]) -> Result<(), String> {
        asked.iter().try_for_each(|grant| self.check_one(grant))
    }

    fn check_one(&self, grant: &NetworkGrant) -> Result<(), String> {
        if !self.grantable.iter().any(|grantable| grantable.covers(grant)) {
            return Err(format!("this node's policy `allow-network` does not cover {grant}"));
        }
        match grant.address() {
            Some(address) if !self.opens(address) => Err(format!("{grant} is {}", self.why_closed(address))),
            _ => Ok(()),
        }
    }

    /// Whether calls may reach this address, if they are granted it.
    pub(crate) fn opens(&self, address: IpAddr) -> bool {
        (is_public(address) && !self.is_own(address)) || self.private.iter().any(|range| range.contains(address))
    }

    /// Whether this is an address of this machine, also where it is written as an IPv6 address that a translator (RFC 6052) takes.
    fn is_own(&self, address: IpAddr) -> bool {
        let address = match address.to_canonical() {
            IpAddr::V6(outer) if outer.segments()[..6] == [0x0064, 0xff9b, 0, 0, 0, 0] => {
                let [.., a, b, c, d] = outer.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            address => address,
        };
        self.own.contains(&address)
    }

    /// What is said of an address that is granted, and still cannot be reached.
    pub(super) fn why_closed(&self, address: IpAddr) -> &'static str {
        if is_public(address) { OWN_ADDRESS } else { IN_PRIVATE_RANGE }
    }
}

const IN_PRIVATE_RANGE: &str = "in a private range, which this node's policy `allow-private` does not open";

const OWN_ADDRESS: &str = "an address of this node itself, which its policy `allow-private` does not open";

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(grantable: &[&str], private: &[&str]) -> NetworkPolicy {
        NetworkPolicy {
            grantable: grantable.iter().map(|text| text.parse().unwrap()).collect(),
            private: private.iter().map(|text| text.parse().unwrap()).collect(),
            own: vec![],
            authorities: Authorities::default(),
        }
    }

    fn check(policy: &NetworkPolicy, asked: &[&str]) -> Result<(), String> {
        let asked: Vec<NetworkGrant> = asked.iter().map(|text| text.parse().unwrap()).collect();
        policy.check(&asked)
    }

    #[test]
    fn by_default_all_public_addresses_may_be_asked_for() {
        let policy = NetworkPolicy::default();
        assert_eq!(check(&policy, &["*", "api.example.com:443", "*.example.com:*", "8.8.8.8:53"]), Ok(()));
        let error = check(&policy, &["8.8.8.8:53", "10.0.0.7:80"]).unwrap_err();
        assert_eq!(error, "10.0.0.7:80 is in a private range, which this node's policy `allow-private` does not open");
    }

    #[test]
    fn what_no_pattern_covers_is_refused_by_name() {
        let policy = policy(&["*.example.com:443", "example.org:*"], &[]);
        assert_eq!(check(&policy, &["api.example.com:443", "*.eu.example.com:443", "example.org:80"]), Ok(()));
        for refused in ["api.example.com:80", "example.com:443", "*:443", "*:*", "8.8.8.8:443"] {
            let error = check(&policy, &["example.org:80", refused]).unwrap_err();
            assert_eq!(error, format!("this node's policy `allow-network` does not cover {refused}"));
        }
    }

    #[test]
    fn private_addresses_are_open_where_the_operator_says_so() {
        let policy = policy(&["*"], &["10.0.0.0/8", "::1/128"]);
        assert_eq!(check(&policy, &["10.0.0.7:80", "[::1]:80"]), Ok(()));
        assert!(check(&policy, &["127.0.0.1:80"]).is_err());
        for (address, open) in [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("8.8.8.8", true), ("192.168.0.1", false)] {
            assert_eq!(policy.opens(address.parse().unwrap()), open, "{address}");
        }
    }
    #[test]
    fn the_nodes_own_addresses_are_private_even_where_they_are_public() {
        let own = vec!["93.184.216.34".parse().unwrap(), "2606:4700::1".parse().unwrap()];
        let policy = NetworkPolicy { own, ..policy(&["*"], &["2606:4700::1/128"]) };
        let error = check(&policy, &["93.184.216.34:80"]).unwrap_err();
        assert_eq!(error, "93.184.216.34:80 is an address of this node itself, which its policy `allow-private` does not open");
        let addresses = [
            ("93.184.216.34", false),
            ("::ffff:93.184.216.34", false),
            ("64:ff9b::93.184.216.34", false),
            ("93.184.216.35", true),
            ("64:ff9b::93.184.216.35", true),
            ("2606:4700::1", true),
        ];
        for (address, open) in addresses {
            assert_eq!(policy.opens(address.parse().unwrap()), open, "{address}");
        }
    }
}
