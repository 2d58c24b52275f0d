# ---- counts and positions
foreach(name counts h5ad visium)
  test_program(data_${name} stmrt "${DATA}" data/${name}_test.c)
endforeach()
test_program(data_guard stmrt "" data/guard_test.c)
add_executable(h5ad_bench EXCLUDE_FROM_ALL ${T}/bench/data/h5ad_bench.c)
target_include_directories(h5ad_bench SYSTEM PRIVATE ${HDF5_INCLUDE})
target_link_libraries(h5ad_bench PRIVATE ${RUNTIME_LINK})
add_executable(hvg_bench EXCLUDE_FROM_ALL ${T}/bench/data/hvg_bench.c)
target_include_directories(hvg_bench SYSTEM PRIVATE ${HDF5_INCLUDE})
target_link_libraries(hvg_bench PRIVATE ${RUNTIME_LINK})

# ---- pictures, slides, scaling, crops
test_program(data_slide stmrt "${DATA}" data/slide_test.c)
test_program(data_slide_jpeg stmrt "" data/slide_jpeg_test.c)
test_program(data_resample stmrt "" data/resample_test.c)
test_program(fuzz_slide stmrt "60 tests/fuzz/corpus/slide tests/data/reference/images" fuzz/fuzz_slide.c)
add_executable(images_bench EXCLUDE_FROM_ALL ${T}/bench/data/images_bench.c)
target_link_libraries(images_bench PRIVATE ${RUNTIME_LINK})

# ---- weights and arrays
test_program(data_weights stmrt "tests/data/reference" data/weights_test.c)
test_program(data_npy stmrt "" data/npy_test.c)
test_program(fuzz_pickle stmrt "60 tests/data/reference/weights tests/fuzz/corpus/weights" fuzz/fuzz_pickle.c)

# ---- expression, space, statistics
test_program(data_expression stmrt "${DATA}" data/expression_test.c)
test_program(data_hvg stmrt "tests/data/reference ${DATA}" data/hvg_test.c)
test_program(data_space stmrt "tests/data/reference" data/space_test.c)
test_program(data_statistics stmrt "tests/data/reference" data/statistics_test.c)

# ---- what is written
test_program(data_outputs stmrt "" data/outputs_test.c)

# ---- histology: colours, masks, filters, stains, rooms
test_program(data_histology stmrt "tests/data/reference ${DATA}" data/histology_test.c)

# ---- sources: every layout, section by section
test_program(data_source stmrt "${DATA}" data/source_test.c)

# ---- the store: how tiles are kept, who reads them at once
test_program(data_store_tiles stmrt "" data/store_tiles_test.c)
test_program(data_store_readers stmrt "" data/store_readers_test.c)
add_executable(loader_bench EXCLUDE_FROM_ALL ${T}/bench/data/loader_bench.c)
target_include_directories(loader_bench SYSTEM PRIVATE ${HDF5_INCLUDE})
target_link_libraries(loader_bench PRIVATE ${RUNTIME_LINK})

# ---- from sections to a store
test_program(data_prepare stmrt "" data/prepare_test.c)
test_program(data_prepare_genes stmrt "${DATA} tests/data/reference" data/prepare_genes_test.c)
test_program(data_prepare_tiles stmrt "${DATA}" data/prepare_tiles_test.c)

# ---- maps; everything that inspect says about the samples
test_program(data_map stmrt "" data/map_test.c)
test_program(data_inspect stmrt "tests/data/reference ${DATA} $<TARGET_FILE:stmdata>" data/inspect_test.c)

# ---- damage and fuzzers (docs/robustness.md): bounded here; all of it by hand
test_program(damage_samples stmrt "${DATA} 40" data/damage_samples_test.c data/damage_read.c)
test_program(damage_made stmrt "${DATA}" data/damage_made_test.c data/damage_read.c)
test_program(fuzz_tables stmrt "40 tests/fuzz/corpus/tables" fuzz/fuzz_tables.c)
test_program(fuzz_trees stmrt "15 tests/fuzz/corpus/trees" fuzz/fuzz_trees.c)
test_program(fuzz_image stmrt "30 tests/fuzz/corpus/image" fuzz/fuzz_image.c)
test_program(fuzz_counts stmrt "3 tests/fuzz/corpus/counts" fuzz/fuzz_counts.c fuzz/h5_edit.c)
test_program(fuzz_store stmrt "5 tests/fuzz/corpus/store" fuzz/fuzz_store.c fuzz/h5_edit.c)
set_tests_properties(damage_made PROPERTIES TIMEOUT 900)
