//! Entry points of chat templates.

use crate::ffi::{PgBuf, PgStatus, PgStr, give_text, guard};
use crate::template::ChatTemplate;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_template_compile(
    source: PgStr,
    out: &mut *mut ChatTemplate,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        let source = unsafe { source.text("the chat template") }?;
        *out = Box::into_raw(Box::new(ChatTemplate::compile(source)?));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_template_free(template: *mut ChatTemplate) {
    if !template.is_null() {
        drop(unsafe { Box::from_raw(template) });
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pg_template_render(
    template: &ChatTemplate,
    context_json: PgStr,
    out: &mut PgBuf,
    error: &mut PgBuf,
) -> PgStatus {
    guard(error, || {
        give_text(out, template.render(unsafe { context_json.bytes() })?);
        Ok(())
    })
}
