//! From a JSON Schema to a program, if all of it is in the subset.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Opaque;
use super::literal::Literal;
use super::numbers::EXACT;
use super::program::{
    ANYTHING, ArrayRule, Bound, MAX_NAMED, MAX_PROPERTIES, Node, NodeId, NumberRule, ObjectRule, Property, Shape, Slot,
    StringCheck, StringRule, tighter,
};

/// Keywords that say nothing about what is valid.
const ANNOTATIONS: [&str; 9] = [
    "title",
    "description",
    "$comment",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$defs",
];

/// Keywords that only the first schema of a document may have.
const OF_THE_ROOT: [&str; 2] = ["$schema", "$id"];

/// How deep schemas may be nested.
const MAX_DEPTH: usize = 64;

/// Compiles `schema`; nothing if any keyword that is reached is outside of the subset.
pub(super) fn compile(schema: &Value, opaque: &Opaque<'_>) -> Option<Program> {
    let mut compiler = Compiler {
        schema,
        opaque,
        nodes: vec![Some(Node::anything())],
        by_pointer: HashMap::new(),
    };
    let root = compiler.node(schema, 0)?;
    let nodes = compiler.nodes.into_iter().collect::<Option<_>>()?;
    Some(Program { nodes, root })
}

/// Nodes, and the one for a whole line.
pub(super) struct Program {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
}

struct Compiler<'a> {
    schema: &'a Value,
    opaque: &'a Opaque<'a>,
    /// Nothing for a node that is being made.
    nodes: Vec<Option<Node>>,
    by_pointer: HashMap<String, NodeId>,
}

impl Compiler<'_> {
    fn node(&mut self, schema: &Value, depth: usize) -> Option<NodeId> {
        let depth = (depth < MAX_DEPTH).then_some(depth + 1)?;
        if let Some(reference) = only_a_reference(schema) {
            return self.reference(reference, depth);
        }
        let node = self.rules(schema, depth)?;
        self.nodes.push(Some(node));
        Some(NodeId(self.nodes.len() - 1))
    }

    fn reference(&mut self, reference: &str, depth: usize) -> Option<NodeId> {
        let pointer = reference.strip_prefix('#').filter(|pointer| !pointer.contains('%'))?;
        if let Some(known) = self.by_pointer.get(pointer) {
            return Some(*known);
        }
        let target = self.schema.pointer(pointer)?;
        let id = NodeId(self.nodes.len());
        // Known before it is made: what is in it may refer to it.
        self.nodes.push(None);
        self.by_pointer.insert(pointer.to_owned(), id);
        self.nodes[id.0] = Some(self.rules(target, depth)?);
        Some(id)
    }

    fn rules(&mut self, schema: &Value, depth: usize) -> Option<Node> {
        let depth = (depth < MAX_DEPTH).then_some(depth + 1)?;
        let keywords = match schema {
            Value::Bool(true) => return Some(Node::anything()),
            Value::Bool(false) => return Some(Node::default()),
            Value::Object(keywords) => keywords,
            _ => return None,
        };
        let known = |keyword: &str| {
            ANNOTATIONS.contains(&keyword) || (OF_THE_ROOT.contains(&keyword) && std::ptr::eq(schema, self.schema))
        };
        let mut rest: Map<String, Value> = keywords.clone();
        rest.retain(|keyword, _| !known(keyword));
        let mut take = |keyword: &str| rest.remove(keyword);
        let mut node = Node::anything();
        if let Some(types) = take("type") {
            node = of_types(&types)?;
        }
        for options in [take("enum"), take("const").map(|only| Value::Array(vec![only]))]
            .into_iter()
            .flatten()
        {
            node = node.and(of_options(&options)?)?;
        }
        node = node.and(Node {
            number: Some(NumberRule {
                is_integer: false,
                least: tighter(
                    bound(take("minimum"), true)?,
                    bound(take("exclusiveMinimum"), false)?,
                    |a, b| a > b,
                ),
                greatest: tighter(
                    bound(take("maximum"), true)?,
                    bound(take("exclusiveMaximum"), false)?,
                    |a, b| a < b,
                ),
            }),
            string: Some(StringRule {
                shortest: count(take("minLength"), 0)?,
                longest: count(take("maxLength"), u64::MAX)?,
                ..StringRule::default()
            }),
            ..Node::anything()
        })?;
        let array = ArrayRule {
            items: self.optional(take("items"), depth)?.unwrap_or(ANYTHING),
            fewest: count(take("minItems"), 0)?,
            most: count(take("maxItems"), u64::MAX)?,
        };
        let [properties, required] = [take("properties"), take("required")];
        let object = self.object(
            properties.as_ref(),
            required.as_ref(),
            take("additionalProperties"),
            depth,
        )?;
        node = node.and(Node {
            array: Some(array),
            object: Some(Arc::new(object)),
            ..Node::anything()
        })?;
        if let Some(reference) = take("$ref") {
            let target = self.reference(reference.as_str()?, depth)?;
            node = node.and(self.nodes[target.0].clone()?)?;
        }
        if let Some(alternatives) = take("anyOf") {
            node = match self.any_of(&node, &alternatives, depth) {
                Some(node) => node,
                None => self.with_check(node, "anyOf", &alternatives)?,
            };
        }
        for (keyword, value) in rest {
            node = self.with_check(node, &keyword, &value)?;
        }
        Some(node)
    }

    fn optional(&mut self, schema: Option<Value>, depth: usize) -> Option<Option<NodeId>> {
        match schema {
            None => Some(None),
            // A schema that is one word has no node of its own.
            Some(Value::Bool(true)) => Some(Some(ANYTHING)),
            Some(schema) => self.node(&schema, depth).map(Some),
        }
    }

    fn object(
        &mut self,
        properties: Option<&Value>,
        required: Option<&Value>,
        additional: Option<Value>,
        depth: usize,
    ) -> Option<ObjectRule> {
        let mut rule = ObjectRule {
            additional: match additional {
                Some(Value::Bool(false)) => None,
                additional => Some(self.optional(additional, depth)?.unwrap_or(ANYTHING)),
            },
            ..ObjectRule::default()
        };
        for (name, schema) in properties.map_or(Some(&Map::new()), Value::as_object)? {
            let node = self.node(schema, depth)?;
            rule.add(name, node)?;
        }
        for name in required.map_or(Some(&Vec::new()), Value::as_array)? {
            let name = name.as_str()?;
            let number = match rule.number_of(name) {
                Some(number) => number,
                None => rule.add(name, rule.additional?)?,
            };
            rule.required |= 1 << number;
        }
        (rule.properties.len() <= MAX_NAMED).then_some(rule)
    }

    /// What satisfies `node` and one of the alternatives, if each is for other types.
    fn any_of(&mut self, node: &Node, alternatives: &Value, depth: usize) -> Option<Node> {
        let mut either = Node::default();
        for alternative in alternatives.as_array()? {
            // Types that `node` does not allow are out of the question.
            let alternative = node.clone().and(self.rules(alternative, depth)?)?;
            either = either.or(alternative)?;
        }
        Some(either)
    }

    /// A keyword that is about nothing but texts is left to the complete validator.
    fn with_check(&mut self, node: Node, keyword: &str, value: &Value) -> Option<Node> {
        let is_of_texts = matches!(keyword, "pattern" | "format");
        let can_be = matches!(keyword, "anyOf" | "oneOf" | "allOf" | "not");
        if !(is_of_texts || can_be && node.is_text()) || refers(value) {
            return None;
        }
        let check = StringCheck {
            shapes: shapes(keyword, value),
            validator: (self.opaque)(&json!({keyword: value}))?,
        };
        node.and(Node {
            string: Some(StringRule {
                checks: vec![Arc::new(check)],
                ..StringRule::default()
            }),
            ..Node::anything()
        })
    }
}

impl ObjectRule {
    fn number_of(&self, name: &str) -> Option<usize> {
        self.properties
            .iter()
            .position(|property| property.is_called(name.as_bytes()))
    }

    fn add(&mut self, name: &str, node: NodeId) -> Option<usize> {
        let number = self.properties.len();
        self.properties.push(Property {
            // In a line it would be escaped, and is never looked for as it is.
            name: Literal::of_key(name)?,
            node,
            slot: None,
        });
        (number < MAX_PROPERTIES).then_some(number)
    }
}

impl Program {
    /// Notes what stands at the member `path` of a line under `slot`, if the schema knows such a member; gives what it must satisfy.
    pub(super) fn watch(&mut self, path: &[&str], slot: Slot) -> Option<&Node> {
        let mut id = self.copy(self.root);
        self.root = id;
        for (depth, name) in (1..).zip(path) {
            let mut object = ObjectRule::clone(self.nodes[id.0].object.as_ref()?);
            let number = object.number_of(name);
            let number = number.or_else(|| object.additional.and_then(|node| object.add(name, node)))?;
            let property = &mut object.properties[number];
            if depth == path.len() {
                property.slot = Some(slot);
            }
            // Of its own, for what is there is not the same elsewhere.
            let copy = self.copy(property.node);
            property.node = copy;
            self.nodes[id.0].object = Some(Arc::new(object));
            id = copy;
        }
        Some(&self.nodes[id.0])
    }

    fn copy(&mut self, id: NodeId) -> NodeId {
        self.nodes.push(self.nodes[id.0].clone());
        NodeId(self.nodes.len() - 1)
    }
}

/// What a schema refers to that says nothing else.
fn only_a_reference(schema: &Value) -> Option<&str> {
    let keywords = schema.as_object()?;
    let says_more = |keyword: &String| keyword != "$ref" && !ANNOTATIONS.contains(&keyword.as_str());
    if keywords.keys().any(says_more) {
        return None;
    }
    keywords.get("$ref")?.as_str()
}

fn of_types(types: &Value) -> Option<Node> {
    let names = match types {
        Value::String(_) => std::slice::from_ref(types),
        Value::Array(names) => names.as_slice(),
        _ => return None,
    };
    let anything = Node::anything();
    let mut node = Node::default();
    for name in names {
        match name.as_str()? {
            "null" => node.null = true,
            "boolean" => node.booleans = [true; 2],
            "string" => node.string = anything.string.clone(),
            "object" => node.object = anything.object.clone(),
            "array" => node.array = anything.array,
            "number" => node.number = anything.number,
            "integer" => {
                let of_integers = NumberRule {
                    is_integer: true,
                    ..NumberRule::default()
                };
                node.number = node.number.or(Some(of_integers));
            }
            _ => return None,
        }
    }
    Some(node)
}

/// Texts, booleans and null; numbers have more than one spelling, and what is nested is rare.
fn of_options(options: &Value) -> Option<Node> {
    let mut node = Node::default();
    let mut words = Vec::new();
    for option in options.as_array()? {
        match option {
            Value::Null => node.null = true,
            Value::Bool(value) => node.booleans[usize::from(*value)] = true,
            Value::String(word) => words.extend(Literal::of_word(word)),
            _ => return None,
        }
    }
    if !words.is_empty() {
        node.string = Some(StringRule {
            words: Some(words),
            ..StringRule::default()
        });
    }
    Some(node)
}

fn bound(value: Option<Value>, is_inside: bool) -> Option<Option<Bound>> {
    let Some(value) = value else {
        return Some(None);
    };
    let is_exact = |value: &f64| value.abs() < EXACT;
    let value = value.as_f64().filter(is_exact)?;
    Some(Some(Bound { value, is_inside }))
}

fn count(value: Option<Value>, absent: u64) -> Option<u64> {
    value.map_or(Some(absent), |value| value.as_u64())
}

fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(key, value)| key.starts_with('$') || refers(value)),
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

/// The shapes any of which satisfies the keyword.
fn shapes(keyword: &str, value: &Value) -> Vec<Shape> {
    match (keyword, value) {
        ("format", Value::String(name)) if name == "date" => vec![Shape::Date],
        ("format", Value::String(name)) if name == "date-time" => vec![Shape::DateTime],
        ("anyOf", Value::Array(alternatives)) => {
            let of_one = |alternative: &Value| match alternative.as_object() {
                Some(keywords) if keywords.len() == 1 => {
                    keywords.get("format").map_or(Vec::new(), |name| shapes("format", name))
                }
                _ => Vec::new(),
            };
            alternatives.iter().flat_map(of_one).collect()
        }
        _ => Vec::new(),
    }
}
