# ---- counts and positions
foreach(name counts h5ad visium)
  test_program(data_${name} stmrt "${DATA}" data/${name}_test.c)
endforeach()
test_program(data_guard stmrt "" data/guard_test.c)
test_program(data_counts_damage stmrt "${DATA} 50" data/counts_damage_test.c)
add_executable(h5ad_bench EXCLUDE_FROM_ALL ${T}/bench/data/h5ad_bench.c)
target_include_directories(h5ad_bench SYSTEM PRIVATE ${HDF5_INCLUDE})
target_link_libraries(h5ad_bench PRIVATE ${RUNTIME_LINK})

# ---- pictures, slides, scaling, crops
test_program(data_slide stmrt "${DATA}" data/slide_test.c)
test_program(data_resample stmrt "" data/resample_test.c)
test_program(fuzz_slide stmrt "60 tests/fuzz/corpus/slide tests/data/reference/images" fuzz/fuzz_slide.c)
add_executable(images_bench EXCLUDE_FROM_ALL ${T}/bench/data/images_bench.c)
target_link_libraries(images_bench PRIVATE ${RUNTIME_LINK})

# ---- weights and arrays
test_program(data_weights stmrt "tests/data/reference" data/weights_test.c)
test_program(data_npy stmrt "" data/npy_test.c)
test_program(fuzz_pickle stmrt "100 tests/data/reference/weights tests/fuzz/corpus/weights" fuzz/fuzz_pickle.c)

# ---- expression, space, statistics
test_program(data_expression stmrt "${DATA}" data/expression_test.c)
test_program(data_hvg stmrt "tests/data/reference ${DATA}" data/hvg_test.c)
test_program(data_space stmrt "tests/data/reference" data/space_test.c)
test_program(data_statistics stmrt "tests/data/reference" data/statistics_test.c)

# ---- what is written
test_program(data_outputs stmrt "" data/outputs_test.c)

# ---- histology: colours, masks, filters, stains, rooms
test_program(data_histology stmrt "tests/data/reference ${DATA}" data/histology_test.c)
