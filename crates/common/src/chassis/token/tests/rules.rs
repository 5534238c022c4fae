use std::sync::Arc;
use std::time::Duration;

use super::forge::{RSA, clock, jwks, rsa_jwk, rules};
use crate::chassis::token::{FixedKeys, KeySet, TokenRules, TokenVerifier, UnsafeTokenRules};

/// What makes good rules unsafe.
type Change = fn(&mut TokenRules);

#[test]
fn rules_that_would_let_strangers_in_stop_the_start() {
    use UnsafeTokenRules::{AmbiguousRoles, EmptyName, NoAuthorizedParty, TooMuchLeeway};
    let cases: [(Change, UnsafeTokenRules); 7] = [
        (|rules| rules.issuer.clear(), EmptyName),
        (|rules| rules.audience.clear(), EmptyName),
        (|rules| rules.authorized_parties.clear(), NoAuthorizedParty),
        (|rules| rules.authorized_parties.push(String::new()), NoAuthorizedParty),
        (
            |rules| rules.roles.viewer.clone_from(&rules.roles.admin),
            AmbiguousRoles,
        ),
        (|rules| rules.roles.operator.clear(), AmbiguousRoles),
        (|rules| rules.leeway = Duration::from_millis(30_001), TooMuchLeeway),
    ];
    for (change, expected) in cases {
        let mut changed = rules();
        change(&mut changed);

        assert_eq!(built(changed), Err(expected));
    }
    assert_eq!(built(rules()), Ok(()));
}

fn built(rules: TokenRules) -> Result<(), UnsafeTokenRules> {
    let keys = KeySet::parse(jwks(&[rsa_jwk("rsa-1", &RSA)]).as_bytes()).unwrap();
    TokenVerifier::new(rules, Arc::new(FixedKeys(keys)), clock()).map(|_| ())
}
