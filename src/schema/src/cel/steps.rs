//! How much a rule may cost: an estimate from above, made once, times the sizes found in an object.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{EntryExpr, Expr};
use serde_json::Value;

/// Expression nodes by how many comprehensions they stand in: `nodes[d]` are visited (largest collection)^d times.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Cost {
    nodes: Vec<u64>,
}

impl Cost {
    pub(super) fn of(expr: &IdedExpr) -> Self {
        let mut cost = Self::default();
        cost.count(expr, 0);
        cost
    }

    /// Steps for a value whose largest collection has `largest` entries.
    pub(super) fn steps(&self, largest: u64) -> u64 {
        let mut times = 1u64;
        let mut total = 0u64;
        for nodes in &self.nodes {
            total = total.saturating_add(nodes.saturating_mul(times));
            times = times.saturating_mul(largest.max(1));
        }
        total
    }

    fn count(&mut self, expr: &IdedExpr, depth: usize) {
        if self.nodes.len() <= depth {
            self.nodes.resize(depth + 1, 0);
        }
        self.nodes[depth] += 1;
        match &expr.expr {
            Expr::Comprehension(c) => {
                self.count(&c.iter_range, depth);
                self.count(&c.accu_init, depth);
                self.count(&c.loop_cond, depth + 1);
                self.count(&c.loop_step, depth + 1);
                self.count(&c.result, depth);
            }
            _ => children(expr, &mut |child| self.count(child, depth)),
        }
    }
}

/// Every direct part of an expression that is no comprehension.
pub(super) fn children<'e>(expr: &'e IdedExpr, visit: &mut dyn FnMut(&'e IdedExpr)) {
    let mut entries = |entries: &'e [kube_cel::cel::common::ast::IdedEntryExpr]| {
        for entry in entries {
            match &entry.expr {
                EntryExpr::StructField(field) => visit(&field.value),
                EntryExpr::MapEntry(entry) => {
                    visit(&entry.key);
                    visit(&entry.value);
                }
            }
        }
    };
    match &expr.expr {
        Expr::Call(call) => {
            if let Some(target) = &call.target {
                visit(target);
            }
            call.args.iter().for_each(visit);
        }
        Expr::List(list) => list.elements.iter().for_each(visit),
        Expr::Map(map) => entries(&map.entries),
        Expr::Struct(s) => entries(&s.entries),
        Expr::Select(select) => visit(&select.operand),
        Expr::Comprehension(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

/// The size of the largest list, map or string (in kilobytes) in a value.
pub(super) fn largest(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(largest).max().unwrap_or_default().max(items.len() as u64),
        Value::Object(map) => map.values().map(largest).max().unwrap_or_default().max(map.len() as u64),
        Value::String(text) => text.len() as u64 / 1024,
        _ => 0,
    }
}
