//! `countersign exchange --explain`: the request that is asked about.

use super::grant;
use clap::{
    Args as ClapArgs,
    builder::{PossibleValuesParser, TypedValueParser},
};
use countersign_grants::RequestedType;
use countersign_issuer::GrantType;

#[derive(Debug, ClapArgs)]
pub(crate) struct ExchangeArgs {
    /// Show, rule by rule, what is passed and what refuses, and the claims that would be minted
    #[arg(long, required = true)]
    pub(crate) explain: bool,
    /// The file with the token that would be shown, or - for standard input; or with an
    /// authorization code, see --redirect-uri
    #[arg(value_name = "FILE|-")]
    pub(crate) token: String,
    /// The file has an authorization code, which the provider has sent to this URI: it is redeemed
    /// at the provider, which takes it once, so that the login has to be begun again
    #[arg(long, value_name = "URI", requires = "verifier")]
    pub(crate) redirect_uri: Option<String>,
    /// The file with PKCE's code_verifier of that login, or - for standard input
    #[arg(long, value_name = "FILE|-", requires = "redirect_uri")]
    pub(crate) verifier: Option<String>,
    /// The file with the token of who acts, or - for standard input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) actor: Option<String>,
    /// The rule that is meant, by its name, as `subject_issuer` says it; providers are asked about
    /// no token that could be another's
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,
    /// The client that would ask [default: the only one that has rules]
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// The grant it would ask by [default: the only one that its rules are for]
    #[arg(long, value_name = "GRANT", value_parser = grant())]
    pub(crate) grant: Option<GrantType>,
    /// A scope it would ask for; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) scope: Vec<String>,
    /// An audience it would ask for; may be given more than once
    #[arg(long, value_name = "A")]
    pub(crate) audience: Vec<String>,
    /// The room it would ask for, where a rule gives tokens for meetings
    #[arg(long, value_name = "NAME")]
    pub(crate) room: Option<String>,
    /// What it would ask for, as `requested_token_type` says it without the urn [default: what its
    /// rules give]
    #[arg(long, value_name = "TYPE", value_parser = requested_type())]
    pub(crate) requested_token_type: Option<RequestedType>,
    /// What it would upload, as the JSON object `upload` of the request, where a rule gives tokens
    /// for uploads
    #[arg(long, value_name = "JSON")]
    pub(crate) upload: Option<String>,
}

/// A type by the end of its urn; help and completions list them.
fn requested_type() -> impl TypedValueParser<Value = RequestedType> {
    let named = |name: String| RequestedType::ALL.into_iter().find(|kind| kind.name() == name);
    PossibleValuesParser::new(RequestedType::ALL.map(RequestedType::name))
        .try_map(move |name| named(name).ok_or("there is no such type"))
}
