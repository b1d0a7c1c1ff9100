//! A schema as a graph: which of its parts are asked about a value when one part is, and which about what is in that value.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

/// The schemas that need not be in a schema that refers to them.
const OF_THE_DIALECT: &str = "https://json-schema.org/";

/// How often the parts beside an `unevaluatedProperties` are asked: to judge the value, and to find out what they have evaluated, for which
/// the parts in them are asked anew. From one part to the next in it that takes at most 2.62 times as long.
const UNEVALUATED: u64 = 3;

/// A part: what else is asked when it is.
#[derive(Default)]
pub(super) struct Part {
    /// About the same value.
    pub(super) same: Vec<usize>,
    /// So often each of these.
    pub(super) times: u64,
    /// About the members of an object.
    pub(super) members: Within<BTreeMap<String, usize>>,
    /// About the items of an array.
    pub(super) items: Within<Vec<usize>>,
}

/// What is asked about what is in a value.
#[derive(Default)]
pub(super) struct Within<N> {
    /// About those of this name or place.
    pub(super) named: N,
    /// About all others.
    pub(super) others: Vec<usize>,
    /// About each.
    pub(super) each: Vec<usize>,
}

/// The parts of `schema` that can be asked, itself first.
///
/// # Errors
///
/// A reference to what is not in it.
pub(super) fn parts_of(schema: &Value) -> Result<Vec<Part>, String> {
    let mut graph = Graph {
        index: Index::of(schema),
        found: Vec::new(),
        places: HashMap::new(),
    };
    graph.place(schema);
    let mut parts = Vec::new();
    while let Some(found) = graph.found.get(parts.len()).copied() {
        parts.push(match found.as_object() {
            Some(keywords) => graph.part(found, keywords)?,
            None => Part::default(),
        });
    }
    Ok(parts)
}

/// Which value that is, of those of one document.
fn identity(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

struct Graph<'s> {
    index: Index<'s>,
    found: Vec<&'s Value>,
    places: HashMap<usize, usize>,
}

impl<'s> Graph<'s> {
    fn place(&mut self, part: &'s Value) -> usize {
        *self.places.entry(identity(part)).or_insert_with(|| {
            self.found.push(part);
            self.found.len() - 1
        })
    }

    fn all(&mut self, parts: Vec<&'s Value>) -> Vec<usize> {
        parts.into_iter().map(|part| self.place(part)).collect()
    }

    fn part(&mut self, whole: &'s Value, keywords: &'s Map<String, Value>) -> Result<Part, String> {
        let mut same = Vec::new();
        for name in ["not", "if", "then", "else"] {
            same.extend(keywords.get(name));
        }
        for name in ["allOf", "anyOf", "oneOf", "dependentSchemas", "dependencies"] {
            same.extend(keywords.get(name).into_iter().flat_map(inside));
        }
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            same.extend(self.index.referred(whole, reference)?);
        }
        if let Some(reference) = keywords.get("$dynamicRef").and_then(Value::as_str) {
            same.extend(self.index.referred_dynamically(whole, reference)?);
        }
        let one = |name: &str| keywords.get(name).into_iter();
        let many = |name: &str| keywords.get(name).into_iter().flat_map(inside);
        let properties = keywords.get("properties").and_then(Value::as_object);
        let named: Vec<_> = properties.into_iter().flatten().collect();
        let others: Vec<_> = one("additionalProperties")
            .chain(one("unevaluatedProperties"))
            .collect();
        let each: Vec<_> = many("patternProperties").chain(one("propertyNames")).collect();
        let items: Vec<_> = one("items").chain(one("unevaluatedItems")).collect();
        let has_unevaluated = ["unevaluatedProperties", "unevaluatedItems"]
            .iter()
            .any(|name| keywords.contains_key(*name));
        Ok(Part {
            same: self.all(same),
            times: if has_unevaluated { UNEVALUATED } else { 1 },
            items: Within {
                named: self.all(many("prefixItems").collect()),
                others: self.all(items),
                each: self.all(one("contains").collect()),
            },
            members: Within {
                others: self.all(others),
                each: self.all(each),
                named: named
                    .into_iter()
                    .map(|(name, part)| (name.clone(), self.place(part)))
                    .collect(),
            },
        })
    }
}

/// The values in a list or an object.
fn inside(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(members) => Box::new(members.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// What references can be about.
struct Index<'s> {
    root: &'s Value,
    /// The resource that a value lies in: the nearest around it with an `$id`, or all.
    resources: HashMap<usize, &'s Value>,
    /// Anchors, by their resource.
    anchors: HashMap<(usize, &'s str), &'s Value>,
    /// Dynamic anchors, and the resource of each.
    dynamic: HashMap<&'s str, Vec<(usize, &'s Value)>>,
    /// Resources with an `$id`.
    named: Vec<(&'s str, &'s Value)>,
}

impl<'s> Index<'s> {
    fn of(root: &'s Value) -> Self {
        let mut index = Self {
            root,
            resources: HashMap::new(),
            anchors: HashMap::new(),
            dynamic: HashMap::new(),
            named: Vec::new(),
        };
        index.add(root, root);
        index
    }

    /// A schema is nested no deeper than its limit.
    fn add(&mut self, value: &'s Value, resource: &'s Value) {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let resource = match text("$id") {
            Some(id) if !id.is_empty() && !id.starts_with('#') => {
                self.named.push((id, value));
                value
            }
            _ => resource,
        };
        let of = identity(resource);
        self.resources.insert(identity(value), resource);
        for name in ["$anchor", "$dynamicAnchor"] {
            if let Some(anchor) = text(name) {
                self.anchors.insert((of, anchor), value);
            }
        }
        if let Some(anchor) = text("$dynamicAnchor") {
            self.dynamic.entry(anchor).or_default().push((of, value));
        }
        for value in inside(value) {
            self.add(value, resource);
        }
    }

    /// What `reference`, in the part `from`, is about; all that it may be about where that is not plain. Nothing for the dialect's own schemas.
    fn referred(&self, from: &'s Value, reference: &str) -> Result<Vec<&'s Value>, String> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let fragment = unescaped(fragment);
        let within = |resource: &&'s Value| match fragment.starts_with('/') || fragment.is_empty() {
            true => resource.pointer(&fragment),
            false => self.anchors.get(&(identity(resource), fragment.as_str())).copied(),
        };
        let found: Vec<_> = if base.is_empty() {
            let resource = self.resources.get(&identity(from)).unwrap_or(&self.root);
            within(resource).into_iter().collect()
        } else {
            let of_that_name = self.named.iter().filter(|(id, _)| last_of(id) == last_of(base));
            of_that_name.filter_map(|(_, resource)| within(resource)).collect()
        };
        match found.is_empty() && !base.starts_with(OF_THE_DIALECT) {
            true => Err(reference.to_owned()),
            false => Ok(found),
        }
    }

    /// The same of a `$dynamicRef`: if the whole schema has that anchor, it is what is meant, from wherever.
    fn referred_dynamically(&self, from: &'s Value, reference: &str) -> Result<Vec<&'s Value>, String> {
        let found = self.referred(from, reference)?;
        let anchor = |part: &&'s Value| part.get("$dynamicAnchor").and_then(Value::as_str);
        let name = reference.split_once('#').map(|(_, fragment)| unescaped(fragment));
        let is_dynamic = |part: &&'s Value| anchor(part).is_some() && anchor(part) == name.as_deref();
        let Some(all) = name.as_deref().and_then(|name| self.dynamic.get(name)) else {
            return Ok(found);
        };
        if !found.iter().any(is_dynamic) {
            return Ok(found);
        }
        Ok(
            match all.iter().find(|(resource, _)| *resource == identity(self.root)) {
                Some((_, part)) => vec![part],
                None => all.iter().map(|(_, part)| *part).collect(),
            },
        )
    }
}

/// The last step of a URI's path.
fn last_of(uri: &str) -> String {
    let path = uri.split('#').next().unwrap_or(uri).trim_end_matches('/');
    unescaped(path.rsplit('/').next().unwrap_or(path))
}

/// A part of a URI without its percent-encoding.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
