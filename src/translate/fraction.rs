//! Shares of requests, as Envoy gives them.

use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;

/// How many of how many; never more than all.
pub(super) fn parts(fraction: FractionalPercent) -> (u32, u32) {
    let of = match fraction.denominator() {
        DenominatorType::Hundred => 100,
        DenominatorType::TenThousand => 10_000,
        DenominatorType::Million => 1_000_000,
    };
    (fraction.numerator.min(of), of)
}

/// The share, from 0 to 1.
pub(super) fn share(fraction: FractionalPercent) -> f64 {
    let (numerator, of) = parts(fraction);
    f64::from(numerator) / f64::from(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_more_than_all() {
        let of =
            |numerator, denominator: DenominatorType| FractionalPercent { numerator, denominator: denominator.into() };
        assert_eq!(parts(of(5, DenominatorType::TenThousand)), (5, 10_000));
        assert_eq!(parts(of(101, DenominatorType::Hundred)), (100, 100));
        assert!((share(of(250_000, DenominatorType::Million)) - 0.25).abs() < 1e-9);
    }
}
