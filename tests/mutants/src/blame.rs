//! Owns which mutants a compiler's error is about: the innermost one around it.

use crate::list::{At, Lines};
use std::collections::BTreeSet;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, ExprIf};

/// The numbers to take out so that the error goes.
pub fn blame(file: &syn::File, error: Lines) -> BTreeSet<u32> {
    let mut finder = Finder { at: error.start, mutant: None, around: None };
    finder.visit_file(file);
    finder.mutant.map(|number| BTreeSet::from([number])).or(finder.around).unwrap_or_default()
}

struct Finder {
    at: At,
    /// The innermost mutant that the place is in.
    mutant: Option<u32>,
    /// All mutants in the innermost expression or item around the place that has any.
    around: Option<BTreeSet<u32>>,
}

/// The number in a switch.
fn number_of(expr: &Expr) -> Option<u32> {
    let Expr::Call(call) = expr else { return None };
    let Expr::Path(path) = &*call.func else { return None };
    let names: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    if names != ["crate", "mutants", "on"] {
        return None;
    }
    let Some(Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(number), .. })) = call.args.first() else { return None };
    number.base10_parse().ok()
}

#[derive(Default)]
struct Numbers(BTreeSet<u32>);

impl<'ast> Visit<'ast> for Numbers {
    fn visit_expr(&mut self, expr: &'ast Expr) {
        self.0.extend(number_of(expr));
        visit::visit_expr(self, expr);
    }
}

impl Finder {
    /// What a function may return at once.
    fn body(&mut self, block: &syn::Block) {
        if Lines::from(block.span()).holds(self.at) {
            let at_once = block.stmts.iter().map_while(|stmt| match stmt {
                syn::Stmt::Expr(Expr::If(choice), None) => number_of(&choice.cond),
                _ => None,
            });
            self.around = Some(at_once.collect()).filter(|numbers: &BTreeSet<u32>| !numbers.is_empty());
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.body(&function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.body(&function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        if Lines::from(expr.span()).holds(self.at) {
            let mut numbers = Numbers::default();
            numbers.visit_expr(expr);
            if !numbers.0.is_empty() {
                self.around = Some(numbers.0);
            }
        }
        visit::visit_expr(self, expr);
    }

    fn visit_expr_if(&mut self, choice: &'ast ExprIf) {
        if let Some(number) = number_of(&choice.cond)
            && Lines::from(choice.span()).holds(self.at)
        {
            let is_original = choice.else_branch.as_ref().is_some_and(|(_, other)| {
                Lines::from(other.span()).holds(self.at) && !matches!(**other, Expr::Block(_))
            });
            if !is_original {
                self.mutant = Some(number);
            }
        }
        visit::visit_expr_if(self, choice);
    }
}
