# pagoda_layer(NAME sources… DEPENDS layers and libraries…): one static library per folder of src/.
# DEPENDS are public: the layer table in docs/architecture.md, checked by tools/check_layers.py.
function(pagoda_layer name)
  cmake_parse_arguments(LAYER "" "" "SOURCES;DEPENDS;PRIVATE" ${ARGN})
  add_library(pagoda_${name} STATIC ${LAYER_SOURCES})
  target_include_directories(pagoda_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(pagoda_${name} PUBLIC ${LAYER_DEPENDS} PRIVATE ${LAYER_PRIVATE})
endfunction()

# What every test includes, compiled once: GoogleTest alone costs a file a second and a half.
function(pagoda_test_headers)
  file(CONFIGURE OUTPUT test_headers.cpp CONTENT "")  # leaves it alone where it is there
  add_library(pagoda_test_headers OBJECT ${CMAKE_CURRENT_BINARY_DIR}/test_headers.cpp)
  target_link_libraries(pagoda_test_headers PRIVATE GTest::gtest GTest::gmock)
  target_precompile_headers(pagoda_test_headers PRIVATE
    <gtest/gtest.h> <gmock/gmock.h> <algorithm> <chrono> <filesystem> <fstream> <functional> <random> <thread>)
endfunction()

# pagoda_test(NAME sources… DEPENDS …): one GoogleTest binary, one ctest entry, run from the source tree's tests/ folder.
function(pagoda_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  target_precompile_headers(${name} REUSE_FROM pagoda_test_headers)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${T_DEPENDS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE PAGODA_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data")
  add_test(NAME ${name} COMMAND ${name})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 300)
  endif()
  if(PAGODA_SANITIZE)  # instrumented code takes up to ten times as long
    math(EXPR T_TIMEOUT "10 * ${T_TIMEOUT}")
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT})
endfunction()
