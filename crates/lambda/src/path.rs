//! The path of a request below the API: what a stage or a base path mapping has put in front is
//! taken off.
//!
//! REST APIs and payload 1.0 have the base path of a custom domain in `path`, and HTTP APIs the
//! stage; what is in front of the resource, with its parameters in place, is neither the caller's
//! nor the function's. Payload 2.0 has the stage in `rawPath` on API Gateway's own domain alone.
//! Each is taken off once, by what the event says of it, so that nothing a caller writes into a
//! path is taken for it. Dots and percent-encodings stay as they are: routes are compared with what
//! is there.

use crate::event::{HttpEvent, Single, Source};

impl HttpEvent {
    /// The path below the API, as it was written.
    pub(crate) fn path(&self) -> &str {
        let path = match self.source {
            Source::HttpV2 => self.without_stage(self.raw.raw_path.as_deref().unwrap_or_default()),
            Source::FunctionUrl => self.raw.raw_path.as_deref().unwrap_or_default(),
            Source::LoadBalancer { .. } => self.raw.path.as_deref().unwrap_or_default(),
            Source::Rest | Source::HttpV1 => {
                let path = self.raw.path.as_deref().unwrap_or_default();
                match self.below_resource(path) {
                    Some(below) => below,
                    None if self.source == Source::HttpV1 => self.without_stage(path),
                    None => path,
                }
            }
        };
        if path.is_empty() { "/" } else { path }
    }

    fn without_stage<'p>(&self, path: &'p str) -> &'p str {
        let Some(context) = &self.raw.request_context else { return path };
        let domain = context.domain_name.as_deref().unwrap_or_default();
        let stage = context.stage.as_deref().filter(|stage| !stage.is_empty() && *stage != "$default");
        let Some(stage) = stage.filter(|_| domain.contains(".execute-api.")) else { return path };
        match path.strip_prefix('/').and_then(|rest| rest.strip_prefix(stage)) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => path,
        }
    }

    /// The end of the path that is the resource, where something is in front of it.
    fn below_resource<'p>(&self, path: &'p str) -> Option<&'p str> {
        let resource = self.raw.resource.as_deref().filter(|resource| resource.starts_with('/'))?;
        let below = expanded(resource, self.raw.path_parameters.as_ref())?;
        let base = path.strip_suffix(below.as_str())?;
        path.get(base.len()..)
    }
}

/// A resource like `/a/{proxy+}` with its parameters in place; `None` where one is missing.
fn expanded(resource: &str, parameters: Option<&Single>) -> Option<String> {
    let mut text = String::new();
    for segment in resource.split('/').skip(1) {
        text.push('/');
        match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => {
                let name = name.strip_suffix('+').unwrap_or(name);
                text.push_str(parameters?.get(name)?.as_deref()?);
            }
            None => text.push_str(segment),
        }
    }
    Some(text)
}
