# pagoda_cargo_library(NAME DIRECTORY …): an imported static library that cargo builds from its lock file. All presets
# share one artefact in build/rust, since the code takes minutes to build and no sanitizer instruments it.
find_program(CARGO_PROGRAM cargo HINTS $ENV{HOME}/.cargo/bin REQUIRED)

function(pagoda_cargo_library name)
  cmake_parse_arguments(C "" "DIRECTORY" "" ${ARGN})
  set(target_dir ${CMAKE_SOURCE_DIR}/build/rust)
  set(library ${target_dir}/release/lib${name}.a)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${C_DIRECTORY}/src/*.rs)
  set(options --release --locked --quiet)
  if(PAGODA_CARGO_OFFLINE)
    list(APPEND options --offline)
  endif()
  # cargo leaves an up-to-date library untouched; the touch keeps ninja from asking again.
  add_custom_command(
    OUTPUT ${library}
    COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${target_dir} ${CARGO_PROGRAM} build ${options}
    COMMAND ${CMAKE_COMMAND} -E touch ${library}
    WORKING_DIRECTORY ${C_DIRECTORY}
    DEPENDS ${sources} ${C_DIRECTORY}/Cargo.toml ${C_DIRECTORY}/Cargo.lock
    COMMENT "cargo build ${name}"
    USES_TERMINAL VERBATIM)
  add_custom_target(${name}_cargo DEPENDS ${library})
  add_library(${name} STATIC IMPORTED GLOBAL)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION ${library}
                        INTERFACE_LINK_LIBRARIES "Threads::Threads;dl;m;gcc_s")
  add_dependencies(${name} ${name}_cargo)
endfunction()
