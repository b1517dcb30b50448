//! Who a client's certificate is for.

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::tls::CertificateName;

/// The names of the certificate of the kind that counts, in the order in which they stand in it. The certificate has
/// been verified; one whose names cannot be read has none.
pub(super) fn names(certificate: &CertificateDer<'_>, kind: CertificateName) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    match kind {
        CertificateName::CommonName => {
            let first = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
            first.filter(|name| !name.is_empty()).map(str::to_owned).into_iter().collect()
        }
        CertificateName::AlternativeName => {
            let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
            let text = |name: &GeneralName<'_>| match name {
                GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
                    Some((*name).to_owned())
                }
                _ => None,
            };
            extension.value.general_names.iter().filter_map(text).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn names_are_those_of_the_kind_that_is_asked_for() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
        let uri = "spiffe://mesh/ns/a/sa/b".try_into().expect("text");
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name.push(DnType::CommonName, "gateway");
        let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("signs");
        assert_eq!(names(certificate.der(), CertificateName::CommonName), ["gateway"]);
        assert_eq!(
            names(certificate.der(), CertificateName::AlternativeName),
            ["a.example", "spiffe://mesh/ns/a/sa/b"]
        );
        assert_eq!(names(&b"nonsense".as_slice().into(), CertificateName::CommonName), [""; 0]);
    }
}
